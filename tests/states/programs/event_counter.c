/* eventfd: its count, and a semaphore. */
#include <sys/eventfd.h>
#include "state.h"
static int plain, semaphore;
static void make(void)
{
    plain = done(eventfd(0, EFD_NONBLOCK));
    semaphore = done(eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC));
    uint64_t value = 123456789012;
    must(write(plain, &value, 8) == 8);
}
static void check(void)
{
    uint64_t value;
    must(read(plain, &value, 8) == 8 && value == 123456789012);
    must(write(plain, &value, 8) == 8);
    must(read(semaphore, &value, 8) == 8 && value == 1);
    must(write(semaphore, &value, 8) == 8);
}
