/* TCP_CORK: what is written waits for more. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    done(setsockopt(ends[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)));
}
static void check(void)
{
    int value = 0;
    socklen_t length = sizeof value;
    done(getsockopt(ends[0], IPPROTO_TCP, TCP_CORK, &value, &length));
    must(value == 1);
    char got[10];
    must(write(ends[0], "x", 1) == 1);
    done(setsockopt(ends[0], IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)));
    must(recv(ends[1], got, 10, 0) == 1);
    done(setsockopt(ends[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)));
}
