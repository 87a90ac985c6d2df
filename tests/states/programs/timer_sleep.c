/* Who sleeps, or waits with a limit, sleeps on for what is left, and not from the beginning. */
#include "state.h"
static volatile long long *woken;
static long long now(void)
{
    struct timespec t;
    done(clock_gettime(CLOCK_MONOTONIC, &t));
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void sleep_on(void)
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            nanosleep(&(struct timespec){0, 300000000}, NULL);
            woken[0] = now();
        }
    }
}
static void make(void)
{
    woken = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child(sleep_on);
}
static void check(void)
{
    long long asked = now();
    for (int i = 0; woken[0] < asked; i++) {
        must(i < 1000);
        usleep(20000);
    }
}
