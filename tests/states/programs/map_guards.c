/* Guard pages within a region (MADV_GUARD_INSTALL): who touches one is killed. */
#include <setjmp.h>
#include "state.h"
#define INSTALL 102
static char *place;
static sigjmp_buf back;
static int guards;
static void faulted(int number)
{
    siglongjmp(back, number);
}
static void make(void)
{
    signal(SIGSEGV, faulted);
    place = done(mmap(NULL, 40960, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(place, 40960, 4);
    guards = madvise(place + 8192, 4096, INSTALL) == 0;
    must(guards || errno == EINVAL);
}
static int reads(volatile char *at)
{
    if (sigsetjmp(back, 1))
        return 0;
    (void)*at;
    return 1;
}
static void check(void)
{
    must(is_filled(place, 8192, 4) && reads(place + 12288));
    must(!guards || !reads(place + 8192));
}
