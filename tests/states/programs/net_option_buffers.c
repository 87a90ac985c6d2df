/* Sizes of a socket's buffers, and from how much on its reader is woken. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    keep(fd, SOL_SOCKET, SO_SNDBUF, 60000);
    keep(fd, SOL_SOCKET, SO_RCVBUF, 70000);
    keep(fd, SOL_SOCKET, SO_RCVLOWAT, 12);
}
static void check(void)
{
    must(value_of(fd, SOL_SOCKET, SO_SNDBUF) == 120000);
    must(value_of(fd, SOL_SOCKET, SO_RCVBUF) == 140000);
    must(value_of(fd, SOL_SOCKET, SO_RCVLOWAT) == 12);
}
