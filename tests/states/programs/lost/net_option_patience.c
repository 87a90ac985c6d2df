/* How long an unanswered connection is kept (TCP_USER_TIMEOUT), and a listener's options. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    keep(ends[0], IPPROTO_TCP, TCP_USER_TIMEOUT, 12345);
}
static void check(void)
{
    must(value_of(ends[0], IPPROTO_TCP, TCP_USER_TIMEOUT) == 12345);
}
