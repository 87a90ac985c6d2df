/* timer_create: a value with the signal, clocks, what is left, a timer without a signal. */
#include "state.h"
static timer_t ringing, far_off;
static sigset_t rung;
static void make(void)
{
    sigemptyset(&rung);
    sigaddset(&rung, SIGRTMIN + 4);
    done(sigprocmask(SIG_BLOCK, &rung, NULL));
    struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 4, .sigev_value.sival_int = 99};
    done(timer_create(CLOCK_MONOTONIC, &by_signal, &ringing));
    done(timer_settime(ringing, 0, &(struct itimerspec){{0, 30000000}, {0, 30000000}}, NULL));
    struct sigevent by_nothing = {.sigev_notify = SIGEV_NONE};
    done(timer_create(CLOCK_REALTIME, &by_nothing, &far_off));
    done(timer_settime(far_off, 0, &(struct itimerspec){{10, 0}, {5000, 0}}, NULL));
}
static void check(void)
{
    siginfo_t told;
    for (int i = 0; i < 3; i++)
        must(sigtimedwait(&rung, &told, &(struct timespec){5, 0}) == SIGRTMIN + 4 && told.si_value.sival_int == 99);
    struct itimerspec left;
    done(timer_gettime(far_off, &left));
    must(left.it_interval.tv_sec == 10 && left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000);
}
