/* A datagram that is put together of parts (UDP_CORK), none of it yet. */
#include "loopback.h"
#include <netinet/udp.h>
static int server, client;
static void make(void)
{
    struct sockaddr_in name = local(0);
    socklen_t length = sizeof name;
    server = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(bind(server, (void *)&name, length));
    done(getsockname(server, (void *)&name, &length));
    client = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(connect(client, (void *)&name, sizeof name));
    keep(client, IPPROTO_UDP, UDP_CORK, 1);
}
static void check(void)
{
    char got[10];
    must(send(client, "a", 1, 0) == 1 && send(client, "b", 1, 0) == 1);
    keep(client, IPPROTO_UDP, UDP_CORK, 0);
    must(recv(server, got, 10, 0) == 2);
    keep(client, IPPROTO_UDP, UDP_CORK, 1);
}
