/* A parent that waits in vfork(2) for its child. */
#include "state.h"
static void make(void)
{
    pid_t pid = done(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        if (vfork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
    char path[60], text[20] = {0};
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    do {
        usleep(1000);
        int fd = done(open(path, O_RDONLY));
        done(read(fd, text, sizeof text - 1));
        close(fd);
    } while (!text[0]);
}
static void check(void)
{
}
