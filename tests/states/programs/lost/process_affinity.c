/* The processors on which a process may run. */
#include "state.h"
static cpu_set_t one;
static void make(void)
{
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    done(sched_setaffinity(0, sizeof one, &one));
}
static void check(void)
{
    cpu_set_t now;
    done(sched_getaffinity(0, sizeof now, &now));
    must(CPU_EQUAL(&one, &now));
}
