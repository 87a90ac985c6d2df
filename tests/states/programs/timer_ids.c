/* Timers with gaps between their numbers. */
#include "state.h"
static int ids[3];
static int one(void)
{
    int id;
    struct sigevent how = {.sigev_notify = SIGEV_NONE};
    done(syscall(SYS_timer_create, CLOCK_MONOTONIC, &how, &id));
    return id;
}
static void make(void)
{
    for (int i = 0; i < 300; i++) {
        int id = one();
        if (i == 50 || i == 150 || i == 299)
            ids[i / 100] = id;
        else
            done(syscall(SYS_timer_delete, id));
    }
    for (int i = 0; i < 3; i++)
        done(syscall(SYS_timer_settime, ids[i], 0, &(struct itimerspec){{0, 0}, {5000 + i, 0}}, NULL));
}
static void check(void)
{
    for (int i = 0; i < 3; i++) {
        struct itimerspec left;
        done(syscall(SYS_timer_gettime, ids[i], &left));
        must(left.it_value.tv_sec > 4000);
    }
    must(ids[2] >= 299);
    must(syscall(SYS_timer_delete, ids[2] - 1) < 0);
}
