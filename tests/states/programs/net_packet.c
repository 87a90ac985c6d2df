/* A packet socket on lo. */
#include <linux/if_packet.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include "loopback.h"
static int fd, sender;
static void make(void)
{
    fd = done(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)));
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex("lo")};
    done(bind(fd, (void *)&name, sizeof name));
    sender = done(socket(AF_INET, SOCK_DGRAM, 0));
}
static void check(void)
{
    char got[2000];
    while (recv(fd, got, sizeof got, MSG_DONTWAIT) > 0)
        ;
    struct sockaddr_in nobody = local(9);
    must(sendto(sender, "seen by the packet socket", 25, 0, (void *)&nobody, sizeof nobody) == 25);
    for (int i = 0; i < 100; i++) {
        int length = done(recv(fd, got, sizeof got, 0));
        if (memmem(got, length, "seen by the packet socket", 25))
            return;
    }
    must(!"the packet was not seen");
}
