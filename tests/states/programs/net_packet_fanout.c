/* Packet sockets that share what comes (PACKET_FANOUT), with options. */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include "loopback.h"
static int fds[2];
static void make(void)
{
    for (int i = 0; i < 2; i++) {
        fds[i] = done(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)));
        struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1};
        done(bind(fds[i], (void *)&name, sizeof name));
        keep(fds[i], SOL_PACKET, PACKET_FANOUT, 13 | PACKET_FANOUT_HASH << 16);
        keep(fds[i], SOL_PACKET, PACKET_AUXDATA, 1);
    }
}
static void check(void)
{
    for (int i = 0; i < 2; i++)
        must((value_of(fds[i], SOL_PACKET, PACKET_FANOUT) & 0xffff) == 13 && value_of(fds[i], SOL_PACKET, PACKET_AUXDATA) == 1);
}
