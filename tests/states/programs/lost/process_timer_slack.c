/* By how much a process's timers may be late. */
#include "state.h"
static void make(void)
{
    done(prctl(PR_SET_TIMERSLACK, 123456));
}
static void check(void)
{
    must(prctl(PR_GET_TIMERSLACK) == 123456);
}
