/* A listener that is woken when there is something to read (TCP_DEFER_ACCEPT). */
#include "loopback.h"
static int fd;
static void make(void)
{
    struct sockaddr_in bound;
    fd = listening(&bound, 5);
    keep(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 7);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) == 7);
}
