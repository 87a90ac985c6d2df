/* A child that another thread than the first has forked. */
#include <pthread.h>
#include "state.h"
static volatile pid_t made;
static void *parent(void *unused)
{
    pid_t pid = done(fork());
    if (pid == 0) {
        close(3);
        for (;;)
            pause();
    }
    made = pid;
    for (;;)
        pause();
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, parent, NULL) == 0);
    while (!made)
        usleep(1000);
}
static void check(void)
{
    siginfo_t told = {0};
    done(kill(made, 0));
    done(waitid(P_PID, made, &told, WEXITED | WNOHANG | WNOWAIT));
    must(told.si_pid == 0);
}
