/* Alternate signal stacks, each thread's own. */
#include <pthread.h>
#include "state.h"
static char stacks[2][65536];
static volatile int asked, right, ready;
static void set(int which)
{
    done(sigaltstack(&(stack_t){.ss_sp = stacks[which], .ss_size = 60000 + which * 1000}, NULL));
}
static int is_set(int which)
{
    stack_t now;
    done(sigaltstack(NULL, &now));
    return now.ss_sp == stacks[which] && now.ss_size == 60000 + which * 1000u && now.ss_flags == 0;
}
static void *other(void *unused)
{
    set(1);
    ready = 1;
    for (int seen = 0;; usleep(1000))
        if (asked != seen)
            seen = asked, right = is_set(1) ? seen : -1;
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    set(0);
    must(pthread_create(&thread, NULL, other, NULL) == 0);
    while (!ready)
        usleep(1000);
}
static void check(void)
{
    must(is_set(0));
    asked++;
    for (int i = 0; i < 20000 && right != asked; i++)
        usleep(1000);
    must(right == asked);
}
