/* A timer whose signal is one thread's (SIGEV_THREAD_ID). */
#include <pthread.h>
#include "state.h"
static volatile int rung, me, asked, gone;
static timer_t timer;
static void *waits(void *unused)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 5);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    me = gettid();
    siginfo_t told;
    for (;;)
        if (sigwaitinfo(&one, &told) == SIGRTMIN + 5 && told.si_value.sival_int == 4711)
            rung++;
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 5);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    must(pthread_create(&thread, NULL, waits, NULL) == 0);
    while (!me)
        usleep(1000);
    struct sigevent how = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 5, .sigev_value.sival_int = 4711};
    how._sigev_un._tid = me;
    done(timer_create(CLOCK_MONOTONIC, &how, &timer));
    done(timer_settime(timer, 0, &(struct itimerspec){{0, 20000000}, {0, 20000000}}, NULL));
}
static void check(void)
{
    int before = rung;
    for (int i = 0; i < 20000 && rung < before + 2; i++)
        usleep(1000);
    must(rung >= before + 2);
}
