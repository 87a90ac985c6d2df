/* Robust and priority-inheriting mutexes that two processes share. */
#include <pthread.h>
#include "state.h"
static struct shared { pthread_mutex_t robust, inheriting; volatile int ready; } *shared;
static pid_t holder;
static void take(void)
{
    pthread_mutex_lock(&shared->robust);
    pthread_mutex_lock(&shared->inheriting);
}
static void hold(void) { holder = child(take); }
static void make(void)
{
    shared = done(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&shared->inheriting, &attributes);
    hold();
}
static void check(void)
{
    must(pthread_mutex_trylock(&shared->robust) == EBUSY && pthread_mutex_trylock(&shared->inheriting) == EBUSY);
    done(kill(holder, SIGKILL));
    done(waitpid(holder, NULL, 0));
    must(pthread_mutex_lock(&shared->robust) == EOWNERDEAD && pthread_mutex_consistent(&shared->robust) == 0);
    must(pthread_mutex_lock(&shared->inheriting) == EOWNERDEAD && pthread_mutex_consistent(&shared->inheriting) == 0);
    pthread_mutex_unlock(&shared->robust);
    pthread_mutex_unlock(&shared->inheriting);
    hold();
}
