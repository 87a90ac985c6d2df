/* A thread with a table of descriptors of its own. */
#include <pthread.h>
#include "state.h"
static volatile int ready, asked, right, own;
static void *other(void *unused)
{
    done(unshare(CLONE_FILES));
    own = done(open("/dev/null", O_RDONLY));
    ready = 1;
    for (int seen = 0;; usleep(1000))
        if (asked != seen) {
            int ok = fcntl(own, F_GETFD) >= 0;
            seen = asked, right = ok ? seen : -1;
        }
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, other, NULL) == 0);
    while (!ready)
        usleep(1000);
}
static void check(void)
{
    must(fcntl(own, F_GETFD) < 0);
    asked++;
    for (int i = 0; i < 20000 && right != asked && right != -1; i++)
        usleep(1000);
    must(right == asked);
}
