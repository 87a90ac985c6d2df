/* A listener that takes data with the first packet (TCP_FASTOPEN). */
#include "loopback.h"
static int fd;
static void make(void)
{
    struct sockaddr_in bound;
    fd = listening(&bound, 5);
    keep(fd, IPPROTO_TCP, TCP_FASTOPEN, 6);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_TCP, TCP_FASTOPEN) == 6);
}
