/* The class and level of a process's input and output. */
#include "state.h"
static void make(void)
{
    done(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
}
static void check(void)
{
    must(syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6));
}
