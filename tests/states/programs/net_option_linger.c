/* SO_LINGER. */
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_STREAM, 0));
    done(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 8}, sizeof(struct linger)));
}
static void check(void)
{
    struct linger now;
    socklen_t length = sizeof now;
    done(getsockopt(fd, SOL_SOCKET, SO_LINGER, &now, &length));
    must(now.l_onoff == 1 && now.l_linger == 8);
}
