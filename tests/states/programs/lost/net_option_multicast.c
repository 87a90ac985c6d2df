/* A member of a multicast group, over lo. */
#include "loopback.h"
static int fd, sender;
static struct sockaddr_in group;
static void make(void)
{
    struct ip_mreqn member = {{inet_addr("239.1.2.3")}, {htonl(INADDR_LOOPBACK)}, 1};
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in any = {.sin_family = AF_INET};
    done(bind(fd, (void *)&any, sizeof any));
    socklen_t length = sizeof any;
    done(getsockname(fd, (void *)&any, &length));
    done(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof member));
    group = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = any.sin_port, .sin_addr = member.imr_multiaddr};
    sender = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &member, sizeof member));
}
static void check(void)
{
    char got[10];
    done(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){2, 0}, sizeof(struct timeval)));
    must(sendto(sender, "all", 3, 0, (void *)&group, sizeof group) == 3);
    must(recv(fd, got, 10, 0) == 3);
}
