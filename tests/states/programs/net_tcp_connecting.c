/* SYN-SENT: who connects and has no answer yet, as the other's queue is full. */
#include "loopback.h"
static int listener, waiting[2], late;
static void make(void)
{
    struct sockaddr_in bound;
    listener = listening(&bound, 0);
    for (int i = 0; i < 2; i++) {
        waiting[i] = done(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        must(connect(waiting[i], (void *)&bound, sizeof bound) < 0 && errno == EINPROGRESS);
        usleep(10000);
    }
    late = waiting[1];
    must(state_of(late) == TCP_SYN_SENT);
}
static void check(void)
{
    int state = state_of(late);
    must(state == TCP_SYN_SENT || state == TCP_ESTABLISHED);
}
