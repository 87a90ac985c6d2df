/* Netlink sockets of several families, one in a group. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include "loopback.h"
static int events, generic, diag;
static void make(void)
{
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR};
    events = done(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE));
    done(bind(events, (void *)&name, sizeof name));
    name.nl_groups = 0;
    diag = done(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
    done(bind(diag, (void *)&name, sizeof name));
    generic = done(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT));
}
static void check(void)
{
    struct sockaddr_nl name;
    socklen_t length = sizeof name;
    done(getsockname(events, (void *)&name, &length));
    must(name.nl_groups == (RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
    must(value_of(diag, SOL_SOCKET, SO_PROTOCOL) == NETLINK_SOCK_DIAG);
    must(value_of(generic, SOL_SOCKET, SO_PROTOCOL) == NETLINK_KOBJECT_UEVENT);
}
