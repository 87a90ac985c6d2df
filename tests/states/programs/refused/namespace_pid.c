/* A child in a pid namespace of its own. */
#include "state.h"
static char stack[65536];
static int other(void *unused)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(3);
    for (;;)
        pause();
    return 0;
}
static pid_t pid;
static void make(void)
{
    pid = done(clone(other, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, NULL));
}
static void check(void)
{
    done(kill(pid, 0));
}
