/* A socket that is bound to an interface. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    struct sockaddr_in name = local(0);
    done(bind(fd, (void *)&name, sizeof name));
}
static void check(void)
{
    char name[16] = {0};
    socklen_t length = sizeof name;
    done(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
    must(strcmp(name, "lo") == 0);
}
