/* Options of sockets. */
#include "loopback.h"
static int ends[2], fresh;
#define KEPT(fd, level, name, value) do { \
    int now_ = -1; socklen_t length_ = sizeof now_; \
    done(getsockopt(fd, level, name, &now_, &length_)); must(now_ == (value)); } while (0)
static void set(int fd, int level, int name, int value)
{
    done(setsockopt(fd, level, name, &value, sizeof value));
}
static void make(void)
{
    connection(ends);
    set(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
    set(ends[0], SOL_SOCKET, SO_KEEPALIVE, 1);
    set(ends[0], IPPROTO_TCP, TCP_KEEPIDLE, 333);
    set(ends[0], IPPROTO_TCP, TCP_KEEPINTVL, 22);
    set(ends[0], IPPROTO_TCP, TCP_KEEPCNT, 5);
    set(ends[0], SOL_SOCKET, SO_PRIORITY, 3);
    done(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){7, 0}, sizeof(struct timeval)));
    fresh = done(socket(AF_INET, SOCK_STREAM, 0));
    set(fresh, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fresh, SOL_SOCKET, SO_REUSEPORT, 1);
}
static void check(void)
{
    KEPT(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
    KEPT(ends[1], IPPROTO_TCP, TCP_NODELAY, 0);
    KEPT(ends[0], SOL_SOCKET, SO_KEEPALIVE, 1);
    KEPT(ends[0], IPPROTO_TCP, TCP_KEEPIDLE, 333);
    KEPT(ends[0], IPPROTO_TCP, TCP_KEEPINTVL, 22);
    KEPT(ends[0], IPPROTO_TCP, TCP_KEEPCNT, 5);
    KEPT(ends[0], SOL_SOCKET, SO_PRIORITY, 3);
    struct timeval limit;
    socklen_t length = sizeof limit;
    done(getsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, &length));
    must(limit.tv_sec == 7);
    KEPT(fresh, SOL_SOCKET, SO_REUSEADDR, 1);
    KEPT(fresh, SOL_SOCKET, SO_REUSEPORT, 1);
}
