/* IPv6: a connection, and a socket for both families. */
#include "loopback.h"
static int listener, ends[2];
static void make(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t length = sizeof name;
    listener = done(socket(AF_INET6, SOCK_STREAM, 0));
    done(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)));
    done(bind(listener, (void *)&name, length));
    done(listen(listener, 2));
    done(getsockname(listener, (void *)&name, &length));
    ends[0] = done(socket(AF_INET6, SOCK_STREAM, 0));
    done(connect(ends[0], (void *)&name, length));
    ends[1] = done(accept(listener, NULL, NULL));
    must(write(ends[0], "six", 3) == 3);
}
static void check(void)
{
    must(waits(ends[1], "six") && state_of(ends[0]) == TCP_ESTABLISHED);
    int only = 0;
    socklen_t length = sizeof only;
    done(getsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length));
    must(only == 1);
}
