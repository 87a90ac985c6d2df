/* The heap's end, and memory of malloc. */
#include "state.h"
static char *before, *allocated;
static void make(void)
{
    done((intptr_t)sbrk(100000));
    before = sbrk(0);
    allocated = malloc(10 << 20);
    fill(allocated, 10 << 20, 40);
}
static void check(void)
{
    must(is_filled(allocated, 10 << 20, 40));
    must((char *)sbrk(0) >= before);
    for (int i = 0; i < 100; i++)
        free(malloc(1 << (i % 20)));
}
