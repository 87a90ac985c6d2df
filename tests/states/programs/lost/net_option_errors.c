/* A queue of what went wrong with datagrams (IP_RECVERR). */
#include "loopback.h"
static int fd, six;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    keep(fd, IPPROTO_IP, IP_RECVERR, 1);
    six = done(socket(AF_INET6, SOCK_DGRAM, 0));
    keep(six, IPPROTO_IPV6, IPV6_RECVERR, 1);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_IP, IP_RECVERR) == 1);
    must(value_of(six, IPPROTO_IPV6, IPV6_RECVERR) == 1);
}
