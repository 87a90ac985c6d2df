/* A region that nobody may unmap or change (mseal). */
#include "state.h"
static char *place;
static int sealed;
static void make(void)
{
    place = done(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(place, 8192, 4);
    done(mprotect(place, 8192, PROT_READ));
    sealed = syscall(462, place, 8192, 0) == 0;
}
static void check(void)
{
    must(is_filled(place, 8192, 4));
    must(!sealed || (mprotect(place, 8192, PROT_READ | PROT_WRITE) < 0 && errno == EPERM));
}
