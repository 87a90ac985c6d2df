/* A datagram over UDP that nobody has read yet. */
#include "loopback.h"
static int fd;
static void make(void)
{
    struct sockaddr_in name = local(0);
    socklen_t length = sizeof name;
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(bind(fd, (void *)&name, length));
    done(getsockname(fd, (void *)&name, &length));
    int sender = done(socket(AF_INET, SOCK_DGRAM, 0));
    must(sendto(sender, "waiting", 7, 0, (void *)&name, length) == 7);
    close(sender);
}
static void check(void)
{
    must(waits(fd, "waiting"));
}
