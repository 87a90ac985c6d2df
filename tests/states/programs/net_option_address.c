/* Options of IP: type of service, time to live, addresses that are not there yet. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_STREAM, 0));
    keep(fd, IPPROTO_IP, IP_FREEBIND, 1);
    keep(fd, IPPROTO_IP, IP_TOS, 0x10);
    keep(fd, IPPROTO_IP, IP_TTL, 33);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_IP, IP_FREEBIND) == 1);
    must(value_of(fd, IPPROTO_IP, IP_TOS) == 0x10);
    must(value_of(fd, IPPROTO_IP, IP_TTL) == 33);
}
