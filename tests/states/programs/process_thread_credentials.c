/* Threads with users and capabilities of their own. */
#include <linux/capability.h>
#include <pthread.h>
#include "state.h"
static volatile int ready, asked, right;
static int is_right(void)
{
    uid_t real, effective, saved;
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    done(getresuid(&real, &effective, &saved));
    done(syscall(SYS_capget, &head, caps));
    return real == 0 && effective == 1234 && saved == 0 && caps[0].effective == 0;
}
static void *other(void *unused)
{
    done(syscall(SYS_setresuid, -1, 1234, -1));
    ready = 1;
    for (int seen = 0;; usleep(1000))
        if (asked != seen)
            seen = asked, right = is_right() ? seen : -1;
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
    must(geteuid() == 0);
    asked++;
    for (int i = 0; i < 20000 && right != asked; i++)
        usleep(1000);
    must(right == asked);
}
