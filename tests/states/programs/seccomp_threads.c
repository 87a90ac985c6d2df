/* Filters of one thread only. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include "state.h"
static volatile int ready, asked, right;
static void *filtered(void *unused)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 74),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    done(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &(struct sock_fprog){4, steps}));
    ready = 1;
    for (int seen = 0;; usleep(1000))
        if (asked != seen) {
            int ok = syscall(SYS_getppid) < 0 && errno == 74;
            seen = asked, right = ok ? seen : -1;
        }
    return NULL;
}
static void make(void)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, filtered, NULL) == 0);
    while (!ready)
        usleep(1000);
}
static void check(void)
{
    must(syscall(SYS_getppid) >= 0);
    asked++;
    for (int i = 0; i < 20000 && right != asked && right != -1; i++)
        usleep(1000);
    must(right == asked);
}
