/* A child that is traced. */
#include <sys/ptrace.h>
#include "state.h"
static pid_t traced;
static void make(void)
{
    traced = child(NULL);
    done(ptrace(PTRACE_SEIZE, traced, 0, 0));
}
static void check(void)
{
    done(kill(traced, 0));
}
