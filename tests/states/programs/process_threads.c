/* Threads: names, masks, memory of their own, one at a condition, one at a lock. */
#include <pthread.h>
#include "state.h"
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static __thread int own = 5;
static int asked, answered[8], ready;
static void *work(void *argument)
{
    int number = (int)(intptr_t)argument, seen = 0;
    char name[16];
    snprintf(name, sizeof name, "worker %d", number);
    pthread_setname_np(pthread_self(), name);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 5 + number);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    own = 100 + number;
    pthread_mutex_lock(&lock);
    ready++;
    for (;;) {
        while (asked == seen)
            pthread_cond_wait(&condition, &lock);
        seen = asked;
        sigset_t now;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        char current[16];
        pthread_getname_np(pthread_self(), current, sizeof current);
        int right = own == 100 + number && sigismember(&now, SIGRTMIN + 5 + number) && strcmp(current, name) == 0;
        answered[number] = right ? seen : -1;
        pthread_cond_broadcast(&condition);
    }
    return NULL;
}
static void *blocked_for_ever(void *argument)
{
    pthread_mutex_lock(&held);
    return argument;
}
static void make(void)
{
    pthread_t thread;
    pthread_mutex_lock(&held);
    for (int i = 0; i < 8; i++)
        must(pthread_create(&thread, NULL, work, (void *)(intptr_t)i) == 0);
    must(pthread_create(&thread, NULL, blocked_for_ever, NULL) == 0);
    while (ready < 8)
        usleep(1000);
}
static void check(void)
{
    must(own == 5);
    pthread_mutex_lock(&lock);
    asked++;
    pthread_cond_broadcast(&condition);
    for (int i = 0; i < 8; i++)
        while (answered[i] != asked) {
            must(answered[i] != -1);
            struct timespec limit;
            clock_gettime(CLOCK_REALTIME, &limit);
            limit.tv_sec += 30;
            must(pthread_cond_timedwait(&condition, &lock, &limit) == 0);
        }
    pthread_mutex_unlock(&lock);
}
