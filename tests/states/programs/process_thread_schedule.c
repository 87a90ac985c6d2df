/* Policies and niceness of threads, each its own. */
#include <pthread.h>
#include <sys/resource.h>
#include "state.h"
static volatile pid_t ids[2];
static void *idle(void *which)
{
    done(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}));
    ids[0] = gettid();
    for (;;)
        pause();
    return NULL;
}
static void *nice_(void *which)
{
    done(setpriority(PRIO_PROCESS, gettid(), 17));
    ids[1] = gettid();
    for (;;)
        pause();
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, idle, NULL) == 0 && pthread_create(&thread, NULL, nice_, NULL) == 0);
    while (!ids[0] || !ids[1])
        usleep(1000);
}
static void check(void)
{
    must(sched_getscheduler(ids[0]) == SCHED_IDLE && sched_getscheduler(ids[1]) == SCHED_OTHER);
    must(getpriority(PRIO_PROCESS, ids[1]) == 17);
}
