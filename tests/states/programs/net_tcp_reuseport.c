/* Two sockets that listen at one port, and one that is bound and does not listen. */
#include "loopback.h"
static int first, second, quiet;
static struct sockaddr_in bound, own;
static int sharing(void)
{
    int fd = done(socket(AF_INET, SOCK_STREAM, 0));
    done(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)));
    done(bind(fd, (void *)&bound, sizeof bound));
    socklen_t length = sizeof bound;
    done(getsockname(fd, (void *)&bound, &length));
    done(listen(fd, 9));
    return fd;
}
static void make(void)
{
    bound = local(0);
    first = sharing();
    second = sharing();
    own = local(0);
    quiet = done(socket(AF_INET, SOCK_STREAM, 0));
    done(bind(quiet, (void *)&own, sizeof own));
    socklen_t length = sizeof own;
    done(getsockname(quiet, (void *)&own, &length));
}
static void check(void)
{
    close(sharing());
    for (int i = 0; i < 20; i++) {
        int fd = connected(&bound);
        done(fcntl(first, F_SETFL, O_NONBLOCK));
        done(fcntl(second, F_SETFL, O_NONBLOCK));
        int got = accept(first, NULL, NULL);
        if (got < 0)
            got = done(accept(second, NULL, NULL));
        close(got);
        close(fd);
    }
    struct sockaddr_in now;
    socklen_t length = sizeof now;
    done(getsockname(quiet, (void *)&now, &length));
    must(now.sin_port == own.sin_port);
    int other = done(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(other, (void *)&own, sizeof own) < 0 && errno == ECONNREFUSED);
    close(other);
}
