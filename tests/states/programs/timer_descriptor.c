/* timerfd: one that rings, one that has rung, one far off, one at a date. */
#include <sys/timerfd.h>
#include "state.h"
static int ringing, rung, dated;
static void make(void)
{
    ringing = done(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    done(timerfd_settime(ringing, 0, &(struct itimerspec){{0, 20000000}, {0, 20000000}}, NULL));
    rung = done(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK));
    done(timerfd_settime(rung, 0, &(struct itimerspec){{4000, 0}, {0, 1}}, NULL));
    usleep(2000);
    dated = done(timerfd_create(CLOCK_REALTIME, 0));
    done(timerfd_settime(dated, TFD_TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {4000000000, 0}}, NULL));
}
static void check(void)
{
    uint64_t times;
    must(read(ringing, &times, 8) == 8 && times >= 1);
    must(read(ringing, &times, 8) == 8 && times >= 1);
    struct itimerspec left;
    done(timerfd_gettime(rung, &left));
    must(left.it_interval.tv_sec == 4000 && left.it_value.tv_sec > 3000);
    done(timerfd_gettime(dated, &left));
    must(left.it_value.tv_sec > 1000000);
}
