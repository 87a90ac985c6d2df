/* Raw sockets of IPv6, with a filter of types. */
#include "loopback.h"
#include <netinet/icmp6.h>
static int fd;
static void make(void)
{
    fd = done(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    done(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter));
}
static void check(void)
{
    must(value_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMPV6);
    struct icmp6_filter filter;
    socklen_t length = sizeof filter;
    done(getsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, &length));
    must(ICMP6_FILTER_WILLBLOCK(ICMP6_ECHO_REQUEST, &filter) && ICMP6_FILTER_WILLPASS(ICMP6_ECHO_REPLY, &filter));
}
