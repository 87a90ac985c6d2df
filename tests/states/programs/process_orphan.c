/* A subreaper that has taken in its grandchild. */
#include "state.h"
static volatile pid_t *grandchild;
static void make(void)
{
    grandchild = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    done(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t middle = done(fork());
    if (middle == 0) {
        pid_t last = fork();
        if (last == 0) {
            close(3);
            for (;;)
                pause();
        }
        grandchild[0] = last;
        _exit(0);
    }
    done(waitpid(middle, NULL, 0));
}
static void check(void)
{
    int reaps = 0;
    done(prctl(PR_GET_CHILD_SUBREAPER, &reaps));
    must(reaps == 1);
    must(waitpid(grandchild[0], NULL, WNOHANG) == 0);
}
