/* A raw socket. */
#include <netinet/ip_icmp.h>
#include "loopback.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    done(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval)));
}
static void check(void)
{
    struct icmphdr echo = {.type = ICMP_ECHO, .un.echo = {htons(77), htons(1)}};
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof echo / 2; i++)
        sum += ((unsigned short *)&echo)[i];
    echo.checksum = ~((sum & 0xffff) + (sum >> 16));
    struct sockaddr_in here = local(0);
    must(sendto(fd, &echo, sizeof echo, 0, (void *)&here, sizeof here) == sizeof echo);
    char got[1000];
    for (int i = 0; i < 10; i++) {
        int length = done(recv(fd, got, sizeof got, 0));
        struct icmphdr *answer = (void *)(got + 20);
        if (length >= 28 && answer->type == ICMP_ECHOREPLY && answer->un.echo.id == htons(77))
            return;
    }
    must(!"no echo came");
}
