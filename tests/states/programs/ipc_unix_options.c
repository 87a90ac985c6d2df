/* Options of unix sockets, and whom they are connected to. */
#include "state.h"
static int pair[2];
static pid_t partner;
static int got(int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    done(getsockopt(pair[0], SOL_SOCKET, name, &value, &length));
    return value;
}
static void make(void)
{
    done(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int one = 1, size = 50000, low = 9;
    done(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    done(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    done(setsockopt(pair[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
    done(setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){9, 0}, sizeof(struct timeval)));
    done(setsockopt(pair[0], SOL_SOCKET, SO_PEEK_OFF, &(int){0}, sizeof(int)));
    partner = getpid();
}
static void check(void)
{
    must(got(SO_PASSCRED) == 1 && got(SO_SNDBUF) == 100000);
    struct ucred peer;
    socklen_t length = sizeof peer;
    done(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &length));
    must(peer.uid == 0);
    struct timeval limit;
    length = sizeof limit;
    done(getsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, &length));
    must(limit.tv_sec == 9);
}
