/* A datagram socket of ICMP. */
#include "loopback.h"
static int fd;
static void make(void)
{
    int range = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);
    if (range >= 0)
        must(write(range, "0 1000", 6) == 6);
    fd = done(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
}
static void check(void)
{
    must(value_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP);
}
