/* UDP over IPv6: bound, and connected. */
#include "loopback.h"
static int server, client;
static void make(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof name;
    server = done(socket(AF_INET6, SOCK_DGRAM, 0));
    done(bind(server, (void *)&name, length));
    done(getsockname(server, (void *)&name, &length));
    client = done(socket(AF_INET6, SOCK_DGRAM, 0));
    done(connect(client, (void *)&name, sizeof name));
}
static void check(void)
{
    char got[10];
    must(send(client, "six", 3, 0) == 3 && recv(server, got, 10, 0) == 3);
}
