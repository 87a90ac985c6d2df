/* Clocks go on: neither back, nor by the difference of two hosts' uptimes. */
#include "state.h"
static struct timespec monotonic, boot, real;
static void make(void)
{
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
}
static double since(clockid_t clock, struct timespec *then)
{
    struct timespec now;
    done(clock_gettime(clock, &now));
    double passed = now.tv_sec - then->tv_sec + (now.tv_nsec - then->tv_nsec) / 1e9;
    *then = now;
    return passed;
}
static void check(void)
{
    double by_monotonic = since(CLOCK_MONOTONIC, &monotonic), by_boot = since(CLOCK_BOOTTIME, &boot);
    double by_real = since(CLOCK_REALTIME, &real);
    must(by_monotonic >= 0 && by_boot >= 0 && by_monotonic < 600 && by_boot < 600);
    must(by_monotonic <= by_real + 5);
}
