/* timerfd: one to be cancelled when the clock is set, and ones of other clocks. */
#include <sys/timerfd.h>
#include "state.h"
static int fd, boot;
static void make(void)
{
    struct timespec now;
    done(clock_gettime(CLOCK_REALTIME, &now));
    fd = done(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    struct itimerspec far = {{0, 0}, {now.tv_sec + 90000, 0}};
    done(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL));
    boot = done(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK));
    done(timerfd_settime(boot, 0, &(struct itimerspec){{5, 0}, {8000, 0}}, NULL));
}
static void check(void)
{
    struct itimerspec left;
    done(timerfd_gettime(fd, &left));
    must(left.it_value.tv_sec > 80000 && left.it_value.tv_sec <= 90000);
    done(timerfd_gettime(boot, &left));
    must(left.it_value.tv_sec > 7000 && left.it_interval.tv_sec == 5);
    char name[64], text[1000] = {0};
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    int info = done(open(name, O_RDONLY));
    must(read(info, text, sizeof text - 1) > 0);
    close(info);
    char *flags = strstr(text, "settime flags: ");
    must(flags && strtol(flags + 15, NULL, 8) & TFD_TIMER_CANCEL_ON_SET);
}
