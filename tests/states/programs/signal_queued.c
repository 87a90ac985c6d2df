/* A hundred real-time signals in their order, each with a value, and who sent them. */
#include "state.h"
static sigset_t waited;
static void send_all(void)
{
    for (int i = 0; i < 100; i++)
        done(sigqueue(getpid(), SIGRTMIN + 6 + i % 2, (union sigval){.sival_int = 1000 + i}));
}
static void make(void)
{
    sigemptyset(&waited);
    sigaddset(&waited, SIGRTMIN + 6);
    sigaddset(&waited, SIGRTMIN + 7);
    done(sigprocmask(SIG_BLOCK, &waited, NULL));
    send_all();
}
static void check(void)
{
    siginfo_t told;
    for (int i = 0; i < 100; i++) {
        int expected = i < 50 ? 2 * i : 2 * (i - 50) + 1;
        must(sigtimedwait(&waited, &told, &(struct timespec){0, 0}) == SIGRTMIN + 6 + expected % 2);
        must(told.si_code == SI_QUEUE && told.si_value.sival_int == 1000 + expected && told.si_pid == getpid());
    }
    must(sigtimedwait(&waited, &told, &(struct timespec){0, 0}) < 0);
    send_all();
}
