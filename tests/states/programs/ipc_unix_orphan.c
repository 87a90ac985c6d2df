/* Unix sockets whose other end is gone, with what it left. */
#include "state.h"
static int stream, packets;
static int left_alone(int type)
{
    int pair[2];
    done(socketpair(AF_UNIX, type, 0, pair));
    must(send(pair[1], "last word", 9, 0) == 9);
    close(pair[1]);
    return pair[0];
}
static void make(void)
{
    signal(SIGPIPE, SIG_IGN);
    stream = left_alone(SOCK_STREAM);
    packets = left_alone(SOCK_SEQPACKET);
}
static void check(void)
{
    char got[20];
    must(recv(stream, got, 20, MSG_PEEK) == 9 && memcmp(got, "last word", 9) == 0);
    must(recv(packets, got, 20, MSG_PEEK) == 9);
    must(write(stream, "x", 1) < 0 && errno == EPIPE);
}
