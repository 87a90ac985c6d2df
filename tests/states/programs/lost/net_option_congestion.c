/* How a connection goes about a crowded way (TCP_CONGESTION). */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    done(setsockopt(ends[0], IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
}
static void check(void)
{
    char name[16] = {0};
    socklen_t length = sizeof name;
    done(getsockopt(ends[0], IPPROTO_TCP, TCP_CONGESTION, name, &length));
    must(strcmp(name, "reno") == 0);
}
