/* A process whose first thread has ended while another lives. */
#include <pthread.h>
#include "state.h"
static void *lives(void *unused)
{
    for (;;)
        pause();
    return NULL;
}
static pid_t pid;
static void make(void)
{
    pid = done(fork());
    if (pid == 0) {
        pthread_t thread;
        prctl(PR_SET_PDEATHSIG, 0);
        close(3);
        must(pthread_create(&thread, NULL, lives, NULL) == 0);
        syscall(SYS_exit, 0);
    }
    usleep(100000);
}
static void check(void)
{
    done(kill(pid, 0));
}
