/* A deep stack, and a region that grows down. */
#include "state.h"
static char *deep;
static void make(void)
{
    deep = __builtin_alloca(2 << 20);
    deep[0] = 1;
}
static int sum(int depth)
{
    volatile char here[4096];
    here[0] = depth & 127;
    return depth == 0 ? here[0] : sum(depth - 1) + here[0];
}
static void check(void)
{
    int expected = 0;
    for (int i = 0; i <= 500; i++)
        expected += i & 127;
    must(sum(500) == expected);
    char *low = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
    fill(low, 65536, 36);
    must(is_filled(low, 65536, 36));
    done(munmap(low, 65536));
}
