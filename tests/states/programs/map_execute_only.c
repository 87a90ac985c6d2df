/* Regions with each protection, and one whose protection was changed in its middle. */
#include "state.h"
static char *middle;
static int count(const char *rights, unsigned long from, unsigned long to)
{
    char line[300], now[5];
    unsigned long start, end;
    int seen = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &start, &end, now) == 3)
            seen += start == from && end == to && strcmp(now, rights) == 0;
    fclose(maps);
    return seen;
}
static void make(void)
{
    middle = done(mmap(NULL, 7 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(middle, 7 * 4096, 2);
    done(mprotect(middle + 4096, 4096, PROT_EXEC));
    done(mprotect(middle + 3 * 4096, 4096, PROT_NONE));
    done(mprotect(middle + 5 * 4096, 4096, PROT_READ | PROT_EXEC));
}
static void check(void)
{
    unsigned long at = (unsigned long)middle;
    must(count("--xp", at + 4096, at + 8192) && count("---p", at + 12288, at + 16384) && count("r-xp", at + 20480, at + 24576));
    must(is_filled(middle, 4096, 2));
    done(mprotect(middle, 7 * 4096, PROT_READ | PROT_WRITE));
    must(is_filled(middle, 7 * 4096, 2));
    done(mprotect(middle + 4096, 4096, PROT_EXEC));
    done(mprotect(middle + 3 * 4096, 4096, PROT_NONE));
    done(mprotect(middle + 5 * 4096, 4096, PROT_READ | PROT_EXEC));
}
