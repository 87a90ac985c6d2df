/* SO_TIMESTAMP: when a datagram came. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    keep(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
}
static void check(void)
{
    must(value_of(fd, SOL_SOCKET, SO_TIMESTAMP) == 1);
}
