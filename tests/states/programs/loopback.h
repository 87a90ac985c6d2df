/* TCP and UDP over the container's own loopback. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include "state.h"

/* An address of the loopback; port 0 lets the kernel choose. */
__attribute__((unused)) static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A listening socket, and what it is bound to. */
__attribute__((unused)) static int listening(struct sockaddr_in *bound, int backlog)
{
    int fd = done(socket(AF_INET, SOCK_STREAM, 0));
    *bound = local(0);
    socklen_t length = sizeof *bound;
    done(bind(fd, (void *)bound, length));
    done(listen(fd, backlog));
    done(getsockname(fd, (void *)bound, &length));
    return fd;
}

__attribute__((unused)) static int connected(struct sockaddr_in *to)
{
    int fd = done(socket(AF_INET, SOCK_STREAM, 0));
    done(connect(fd, (void *)to, sizeof *to));
    return fd;
}

/* Both ends of a connection. */
__attribute__((unused)) static void connection(int ends[2])
{
    struct sockaddr_in bound;
    int listener = listening(&bound, 1);
    ends[0] = connected(&bound);
    ends[1] = done(accept(listener, NULL, NULL));
    close(listener);
}

__attribute__((unused)) static int state_of(int fd)
{
    struct tcp_info told;
    socklen_t length = sizeof told;
    done(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &told, &length));
    return told.tcpi_state;
}

/* Whether `expected` waits to be received, and nothing else; it stays there. */
__attribute__((unused)) static int waits(int fd, const char *expected)
{
    char got[1000];
    ssize_t length = strlen(expected);
    for (int i = 0; i < 2000; i++) {
        ssize_t seen = recv(fd, got, sizeof got, MSG_PEEK | MSG_DONTWAIT);
        if (seen == length)
            return memcmp(got, expected, length) == 0;
        usleep(1000);
    }
    return 0;
}

/* An option whose value is a number. */
__attribute__((unused)) static int value_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    done(getsockopt(fd, level, name, &value, &length));
    return value;
}

__attribute__((unused)) static void keep(int fd, int level, int name, int value)
{
    done(setsockopt(fd, level, name, &value, sizeof value));
}
