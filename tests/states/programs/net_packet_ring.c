/* A packet socket with a ring that is mapped. */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include "loopback.h"
static int fd;
static char *ring;
static void make(void)
{
    fd = done(socket(AF_PACKET, SOCK_RAW, 0));
    struct tpacket_req request = {4096, 4, 2048, 8};
    keep(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
    done(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request));
    ring = done(mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1};
    done(bind(fd, (void *)&name, sizeof name));
}
static void check(void)
{
    must(value_of(fd, SOL_PACKET, PACKET_VERSION) == TPACKET_V2);
    struct tpacket2_hdr *slot = (void *)ring;
    for (int i = 0; i < 8; i++)
        ((struct tpacket2_hdr *)(ring + 2048 * i))->tp_status = TP_STATUS_KERNEL;
    struct sockaddr_in to = local(9);
    int sender = done(socket(AF_INET, SOCK_DGRAM, 0)), seen = 0;
    must(sendto(sender, "x", 1, 0, (void *)&to, sizeof to) == 1);
    for (int turn = 0; turn < 20000 && !seen; turn++, usleep(1000))
        for (int i = 0; i < 8; i++)
            seen |= ((volatile struct tpacket2_hdr *)(ring + 2048 * i))->tp_status & TP_STATUS_USER;
    must(seen && slot);
    close(sender);
}
