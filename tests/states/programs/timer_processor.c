/* Timers of the processor's time: of a process and of a thread. */
#include "state.h"
static timer_t process, thread;
static void make(void)
{
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    done(timer_create(CLOCK_PROCESS_CPUTIME_ID, &how, &process));
    done(timer_create(CLOCK_THREAD_CPUTIME_ID, &how, &thread));
    done(timer_settime(process, 0, &(struct itimerspec){{0, 0}, {5000, 0}}, NULL));
    done(timer_settime(thread, 0, &(struct itimerspec){{3, 0}, {6000, 0}}, NULL));
}
static void check(void)
{
    struct itimerspec left;
    done(timer_gettime(process, &left));
    must(left.it_value.tv_sec > 4900 && left.it_value.tv_sec <= 5000);
    done(timer_gettime(thread, &left));
    must(left.it_value.tv_sec > 5900 && left.it_value.tv_sec <= 6000 && left.it_interval.tv_sec == 3);
}
