/* A thread of a real-time policy. */
#include "state.h"
static void make(void)
{
    done(sched_setscheduler(0, SCHED_RR, &(struct sched_param){3}));
}
static void check(void)
{
    struct sched_param now;
    done(sched_getparam(0, &now));
    must(sched_getscheduler(0) == SCHED_RR && now.sched_priority == 3);
}
