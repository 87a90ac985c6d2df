/* A listening socket with options, and its connections that nobody has accepted. */
#include "loopback.h"
static int listener, clients[3];
static struct sockaddr_in bound;
static void call(void)
{
    for (int i = 0; i < 3; i++) {
        clients[i] = connected(&bound);
        must(write(clients[i], "hello", 5) == 5);
    }
}
static void make(void)
{
    listener = listening(&bound, 8);
    done(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
}
static void check(void)
{
    call();
    for (int i = 0; i < 3; i++) {
        int accepted = done(accept(listener, NULL, NULL));
        must(waits(accepted, "hello"));
        close(clients[i]);
        close(accepted);
    }
    struct sockaddr_in now;
    socklen_t length = sizeof now;
    done(getsockname(listener, (void *)&now, &length));
    must(now.sin_port == bound.sin_port);
    int set;
    length = sizeof set;
    done(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &set, &length));
    must(set == 1);
}
