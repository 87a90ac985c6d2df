/* FIN-WAIT-1: the last word waits behind data for which the other end has no room. */
#include "loopback.h"
static int ends[2];
static long sent;
static char part[4096];
static void make(void)
{
    connection(ends);
    done(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    fill(part, sizeof part, 4);
    for (ssize_t now; (now = write(ends[0], part, sizeof part)) > 0;)
        sent += now;
    done(shutdown(ends[0], SHUT_WR));
    must(state_of(ends[0]) == TCP_FIN_WAIT1);
}
static void check(void)
{
    must(state_of(ends[0]) == TCP_FIN_WAIT1 && state_of(ends[1]) == TCP_ESTABLISHED);
    char got[4096];
    must(recv(ends[1], got, sizeof got, MSG_PEEK) == sizeof got && memcmp(got, part, sizeof got) == 0);
}
