/* TCP_NOTSENT_LOWAT: how much may wait to be sent before the writer waits. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_STREAM, 0));
    keep(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 30000);
}
static void check(void)
{
    must(value_of(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 30000);
}
