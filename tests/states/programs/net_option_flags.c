/* Flags of a socket: broadcast, routes, checksums, urgent data, marks. */
#include "loopback.h"
static int udp, tcp;
static void make(void)
{
    udp = done(socket(AF_INET, SOCK_DGRAM, 0));
    keep(udp, SOL_SOCKET, SO_BROADCAST, 1);
    keep(udp, SOL_SOCKET, SO_DONTROUTE, 1);
    keep(udp, SOL_SOCKET, SO_NO_CHECK, 1);
    keep(udp, SOL_SOCKET, SO_MARK, 77);
    tcp = done(socket(AF_INET, SOCK_STREAM, 0));
    keep(tcp, SOL_SOCKET, SO_OOBINLINE, 1);
}
static void check(void)
{
    must(value_of(udp, SOL_SOCKET, SO_BROADCAST) == 1);
    must(value_of(udp, SOL_SOCKET, SO_DONTROUTE) == 1);
    must(value_of(udp, SOL_SOCKET, SO_NO_CHECK) == 1);
    must(value_of(udp, SOL_SOCKET, SO_MARK) == 77);
    must(value_of(tcp, SOL_SOCKET, SO_OOBINLINE) == 1);
}
