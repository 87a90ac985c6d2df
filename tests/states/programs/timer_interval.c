/* setitimer: of real time, of the processor's time. */
#include "state.h"
static volatile int rung;
static void on_alarm(int number) { (void)number; rung++; }
static void make(void)
{
    signal(SIGALRM, on_alarm);
    done(setitimer(ITIMER_REAL, &(struct itimerval){{0, 20000}, {0, 20000}}, NULL));
    done(setitimer(ITIMER_VIRTUAL, &(struct itimerval){{500, 0}, {1000, 0}}, NULL));
    done(setitimer(ITIMER_PROF, &(struct itimerval){{600, 0}, {2000, 0}}, NULL));
}
static void check(void)
{
    int before = rung;
    for (int i = 0; rung < before + 3; i++) {
        must(i < 500);
        usleep(10000);
    }
    struct itimerval left;
    done(getitimer(ITIMER_VIRTUAL, &left));
    must(left.it_interval.tv_sec == 500 && left.it_value.tv_sec > 900 && left.it_value.tv_sec <= 1000);
    done(getitimer(ITIMER_PROF, &left));
    must(left.it_interval.tv_sec == 600 && left.it_value.tv_sec > 1900);
}
