/* A raw socket whose header is written by the program (IP_HDRINCL). */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    keep(fd, IPPROTO_IP, IP_HDRINCL, 1);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_IP, IP_HDRINCL) == 1 && value_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP);
}
