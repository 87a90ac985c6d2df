/* epoll: what is watched, with its data; edge-triggered and one-shot ones among them. */
#include <sys/epoll.h>
#include "state.h"
static int epoll, level[2], edge[2], once[2], nested;
static void add(int fd, uint32_t events, uint64_t data)
{
    done(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){events, {.u64 = data}}));
}
static void make(void)
{
    epoll = done(epoll_create1(EPOLL_CLOEXEC));
    done(pipe(level));
    done(pipe(edge));
    done(pipe(once));
    nested = done(epoll_create1(0));
    add(level[0], EPOLLIN, 0x1111222233334444);
    add(edge[0], EPOLLIN | EPOLLET, 2);
    add(once[0], EPOLLIN | EPOLLONESHOT, 3);
    add(nested, EPOLLIN, 4);
    must(write(level[1], "x", 1) == 1);
}
static void check(void)
{
    struct epoll_event got[8];
    int number = done(epoll_wait(epoll, got, 8, 0));
    must(number == 1 && got[0].data.u64 == 0x1111222233334444 && got[0].events == EPOLLIN);
    must(write(edge[1], "x", 1) == 1);
    must(epoll_wait(epoll, got, 8, 1000) == 2);
    char byte;
    must(read(edge[0], &byte, 1) == 1);
    done(epoll_ctl(epoll, EPOLL_CTL_MOD, once[0], &(struct epoll_event){EPOLLIN | EPOLLONESHOT, {.u64 = 3}}));
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, nested, got) < 0 && errno == EEXIST);
}
