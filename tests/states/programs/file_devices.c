/* Character devices. */
#include "state.h"
static int null, zero, random_bytes, full;
static void make(void)
{
    null = done(open("/dev/null", O_RDWR));
    zero = done(open("/dev/zero", O_RDONLY));
    random_bytes = done(open("/dev/urandom", O_RDONLY));
    full = done(open("/dev/full", O_WRONLY));
}
static void check(void)
{
    char byte = 1;
    must(read(null, &byte, 1) == 0 && write(null, "x", 1) == 1);
    must(read(zero, &byte, 1) == 1 && byte == 0);
    must(read(random_bytes, &byte, 1) == 1);
    must(write(full, "x", 1) < 0 && errno == ENOSPC);
}
