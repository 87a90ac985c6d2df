/* One end has said its last: FIN-WAIT-2 here, CLOSE-WAIT there. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    must(write(ends[0], "last words", 10) == 10);
    done(shutdown(ends[0], SHUT_WR));
    must(write(ends[1], "still here", 10) == 10);
    signal(SIGPIPE, SIG_IGN);
}
static void check(void)
{
    must(waits(ends[1], "last words") && waits(ends[0], "still here"));
    must(state_of(ends[0]) == TCP_FIN_WAIT2 && state_of(ends[1]) == TCP_CLOSE_WAIT);
    must(write(ends[0], "x", 1) < 0 && errno == EPIPE);
}
