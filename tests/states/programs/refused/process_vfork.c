/* A parent that waits in vfork(2) for its child. */
#include "state.h"
static void make(void)
{
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        if (vfork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
    usleep(50000);
}
static void check(void)
{
}
