/* A region that grows down when what is below it is touched. */
#include "state.h"
static char *low;
static void make(void)
{
    char *place = done(mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    done(munmap(place, 4 << 20));
    low = done(mmap(place + (3 << 20), 65536, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
    fill(low, 65536, 37);
}
static void check(void)
{
    must(is_filled(low, 65536, 37));
    low[-1] = 'x';
    must(low[-1] == 'x');
}
