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
    char path[40], text[300] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    do {
        usleep(1000);
        int fd = done(open(path, O_RDONLY));
        must(read(fd, text, sizeof text - 1) > 0);
        close(fd);
    } while (strrchr(text, ')')[2] != 'Z'); /* the first thread has ended */
}
static void check(void)
{
    done(kill(pid, 0));
}
