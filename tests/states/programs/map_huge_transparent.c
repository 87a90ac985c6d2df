/* Anonymous memory in huge pages, where the kernel gives them. */
#include "state.h"
#define SIZE (8 << 20)
static char *place;
static void make(void)
{
    char *got = done(mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    place = (char *)(((uintptr_t)got + SIZE - 1) & ~(uintptr_t)(SIZE - 1));
    madvise(place, SIZE, MADV_HUGEPAGE);
    fill(place, SIZE, 1);
}
static void check(void)
{
    must(is_filled(place, SIZE, 1));
    char line[300];
    FILE *maps = fopen("/proc/self/smaps", "r");
    int here = 0, huge = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (uintptr_t)place && (uintptr_t)place < to;
        if (here && strncmp(line, "VmFlags:", 8) == 0)
            huge = strstr(line, " hg") != NULL;
    }
    fclose(maps);
    must(huge);
}
