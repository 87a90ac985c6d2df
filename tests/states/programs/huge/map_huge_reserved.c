/* Mappings of huge pages (hugetlb), private and shared with a child. */
#include "state.h"
#define SIZE (2 << 20)
static char *private, *shared;
static char *one(int flags)
{
    return done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
}
static void make(void)
{
    private = one(MAP_PRIVATE);
    shared = one(MAP_SHARED);
    fill(private, SIZE, 1);
    fill(shared, SIZE, 2);
    child(NULL);
}
static void check(void)
{
    char line[300];
    FILE *maps = fopen("/proc/self/smaps", "r");
    int huge = 0;
    while (fgets(line, sizeof line, maps))
        huge += strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " ht");
    fclose(maps);
    must(huge == 2 && is_filled(private, SIZE, 1) && is_filled(shared, SIZE, 2));
}
