/* eventfd: its count. */
#include <sys/eventfd.h>
#include "state.h"
#define MANY 4000000000ull /* CRIU keeps 32 bits; preflight refuses more */
static int plain, empty;
static void make(void)
{
    plain = done(eventfd(0, EFD_NONBLOCK));
    empty = done(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t value = MANY;
    must(write(plain, &value, 8) == 8);
}
static void check(void)
{
    uint64_t value;
    must(read(plain, &value, 8) == 8 && value == MANY);
    must(write(plain, &value, 8) == 8);
    must(read(empty, &value, 8) < 0 && errno == EAGAIN && fcntl(empty, F_GETFD) == FD_CLOEXEC);
}
