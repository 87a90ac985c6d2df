/* epoll that watches epoll that watches epoll: what is at the bottom is told at the top. */
#include <sys/epoll.h>
#include "state.h"
static int chain[3], ends[2];
static void make(void)
{
    done(pipe(ends));
    int below = ends[0];
    for (int i = 0; i < 3; i++) {
        chain[i] = done(epoll_create1(0));
        done(epoll_ctl(chain[i], EPOLL_CTL_ADD, below, &(struct epoll_event){EPOLLIN, {.u64 = 100 + i}}));
        below = chain[i];
    }
}
static void check(void)
{
    struct epoll_event got[2];
    char byte;
    must(epoll_wait(chain[2], got, 2, 0) == 0);
    must(write(ends[1], "x", 1) == 1);
    for (int i = 2; i >= 0; i--)
        must(epoll_wait(chain[i], got, 2, 1000) == 1 && got[0].data.u64 == 100 + (unsigned)i);
    must(read(ends[0], &byte, 1) == 1);
}
