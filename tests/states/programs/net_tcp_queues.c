/* A connection whose receiver does not read: both its queues are full. */
#include "loopback.h"
#define MOST (16 << 20)
static int ends[2];
static long sent;
static char *stream, *got;
static void make(void)
{
    connection(ends);
    stream = malloc(MOST);
    got = malloc(MOST);
    fill(stream, MOST, 80);
    done(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    for (ssize_t part; sent < MOST && (part = write(ends[0], stream + sent, MOST - sent)) > 0; sent += part)
        ;
    must(sent > 65536 && sent < MOST);
}
static void check(void)
{
    must(recv(ends[1], got, sent, MSG_WAITALL) == sent && memcmp(got, stream, sent) == 0);
    for (long again = 0; again < sent;) {
        ssize_t part = write(ends[0], stream + again, sent - again);
        if (part < 0) {
            must(errno == EAGAIN);
            sent = again;
            break;
        }
        again += part;
    }
    must(sent > 65536);
}
