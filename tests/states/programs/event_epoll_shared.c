/* One description under two numbers in one epoll, and an epoll that a child has from its parent. */
#include <sys/epoll.h>
#include "state.h"
static int epoll, ends[2], again;
static void make(void)
{
    epoll = done(epoll_create1(0));
    done(pipe(ends));
    again = done(dup(ends[0]));
    done(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){EPOLLIN, {.u64 = 1}}));
    done(epoll_ctl(epoll, EPOLL_CTL_ADD, again, &(struct epoll_event){EPOLLIN, {.u64 = 2}}));
    child(NULL);
}
static void check(void)
{
    struct epoll_event got[4];
    char byte;
    must(write(ends[1], "x", 1) == 1);
    must(epoll_wait(epoll, got, 4, 1000) == 2 && got[0].data.u64 + got[1].data.u64 == 3);
    must(read(ends[0], &byte, 1) == 1);
    must(epoll_wait(epoll, got, 4, 0) == 0);
}
