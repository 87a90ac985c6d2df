/* A netlink socket that is bound, and asked for the links afterwards. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include "state.h"
static int fd;
static unsigned port;
static void make(void)
{
    fd = done(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    socklen_t length = sizeof name;
    done(bind(fd, (void *)&name, length));
    done(getsockname(fd, (void *)&name, &length));
    port = name.nl_pid;
}
static void check(void)
{
    struct sockaddr_nl name;
    socklen_t length = sizeof name;
    done(getsockname(fd, (void *)&name, &length));
    must(name.nl_pid == port);
    struct { struct nlmsghdr head; struct rtgenmsg asked; } request = {
        {sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_PACKET}};
    must(send(fd, &request, sizeof request, 0) == sizeof request);
    char answer[65536];
    int finished = 0, found = 0;
    while (!finished) {
        int got = done(recv(fd, answer, sizeof answer, 0));
        for (struct nlmsghdr *head = (void *)answer; NLMSG_OK(head, (unsigned)got); head = NLMSG_NEXT(head, got)) {
            finished |= head->nlmsg_type == NLMSG_DONE;
            found += head->nlmsg_type == RTM_NEWLINK;
        }
    }
    must(found >= 1);
}
