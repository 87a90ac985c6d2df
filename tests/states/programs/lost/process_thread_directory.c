/* A thread with a working directory of its own. */
#include <pthread.h>
#include "state.h"
static volatile int ready, asked, right;
static void *other(void *unused)
{
    done(unshare(CLONE_FS));
    done(chdir("in"));
    ready = 1;
    for (int seen = 0;; usleep(1000))
        if (asked != seen) {
            char now[200];
            int ok = getcwd(now, 200) && strcmp(now + strlen(now) - 3, "/in") == 0;
            seen = asked, right = ok ? seen : -1;
        }
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    done(mkdir("in", 0700));
    must(pthread_create(&thread, NULL, other, NULL) == 0);
    while (!ready)
        usleep(1000);
}
static void check(void)
{
    asked++;
    for (int i = 0; i < 20000 && right != asked && right != -1; i++)
        usleep(1000);
    must(right == asked);
}
