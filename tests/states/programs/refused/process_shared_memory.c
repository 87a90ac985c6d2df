/* A process that has its parent's memory (CLONE_VM without a thread). */
#include "state.h"
static char stack[65536];
static int other(void *unused)
{
    for (;;)
        pause();
    return 0;
}
static void make(void)
{
    done(clone(other, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL));
}
static void check(void)
{
}
