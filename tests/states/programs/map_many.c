/* Two thousand mappings, every other without access, so that none can be merged. */
#include "state.h"
#define NUMBER 2000
static char *base;
static void make(void)
{
    base = done(mmap(NULL, NUMBER * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < NUMBER; i++) {
        fill(base + i * 4096, 4096, i);
        if (i % 2)
            done(mprotect(base + i * 4096, 4096, PROT_READ));
    }
}
static void check(void)
{
    for (int i = 0; i < NUMBER; i++)
        must(is_filled(base + i * 4096, 4096, i));
}
