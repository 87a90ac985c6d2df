/* timer_create by CLOCK_BOOTTIME and CLOCK_TAI. */
#include "state.h"
static timer_t boot, tai;
static timer_t one(clockid_t clock, int seconds)
{
    timer_t made;
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    done(timer_create(clock, &how, &made));
    done(timer_settime(made, 0, &(struct itimerspec){{17, 0}, {seconds, 0}}, NULL));
    return made;
}
static void make(void)
{
    boot = one(CLOCK_BOOTTIME, 5000);
    tai = one(CLOCK_TAI, 6000);
}
static void check(void)
{
    struct itimerspec left;
    done(timer_gettime(boot, &left));
    must(left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000 && left.it_interval.tv_sec == 17);
    done(timer_gettime(tai, &left));
    must(left.it_value.tv_sec > 5000 && left.it_value.tv_sec <= 6000 && left.it_interval.tv_sec == 17);
}
