/* IP_TRANSPARENT: addresses that are not ours. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_STREAM, 0));
    keep(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_IP, IP_TRANSPARENT) == 1);
}
