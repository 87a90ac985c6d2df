/* Connected unix sockets with data on their way, one of them half closed. */
#include "state.h"
static int pair[2], half[2];
static void make(void)
{
    done(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    must(write(pair[0], "forth", 5) == 5 && write(pair[1], "back!!", 6) == 6);
    done(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    must(write(half[0], "last", 4) == 4);
    done(shutdown(half[0], SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
}
static void check(void)
{
    char got[20];
    must(recv(pair[1], got, sizeof got, MSG_PEEK) == 5 && memcmp(got, "forth", 5) == 0);
    must(recv(pair[0], got, sizeof got, MSG_PEEK) == 6 && memcmp(got, "back!!", 6) == 0);
    must(recv(half[1], got, sizeof got, MSG_PEEK) == 4 && memcmp(got, "last", 4) == 0);
    must(write(half[0], "x", 1) < 0 && errno == EPIPE);
}
