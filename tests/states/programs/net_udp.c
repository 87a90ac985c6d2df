/* UDP sockets: bound, connected, without either. */
#include "loopback.h"
static int bound, joined, fresh;
static struct sockaddr_in name;
static void make(void)
{
    bound = done(socket(AF_INET, SOCK_DGRAM, 0));
    name = local(0);
    socklen_t length = sizeof name;
    done(bind(bound, (void *)&name, length));
    done(getsockname(bound, (void *)&name, &length));
    done(setsockopt(bound, SOL_SOCKET, SO_BROADCAST, &(int){1}, sizeof(int)));
    joined = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(connect(joined, (void *)&name, length));
    fresh = done(socket(AF_INET, SOCK_DGRAM, 0));
}
static void check(void)
{
    char got[20];
    must(send(joined, "by peer", 7, 0) == 7 && recv(bound, got, 20, 0) == 7);
    must(sendto(fresh, "by name", 7, 0, (void *)&name, sizeof name) == 7 && recv(bound, got, 20, 0) == 7);
    int set = 0;
    socklen_t length = sizeof set;
    done(getsockopt(bound, SOL_SOCKET, SO_BROADCAST, &set, &length));
    must(set == 1);
}
