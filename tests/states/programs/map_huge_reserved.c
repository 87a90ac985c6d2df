/* Mappings of huge pages (hugetlb), private and shared; with content where the host has such pages. */
#include "state.h"
#define SIZE (2 << 20)
static char *private, *shared;
static int reserved;
static char *one(int flags)
{
    flags |= MAP_ANONYMOUS | MAP_HUGETLB | (reserved ? 0 : MAP_NORESERVE);
    return done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, -1, 0));
}
static void make(void)
{
    void *tried = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    reserved = tried != MAP_FAILED;
    if (reserved)
        munmap(tried, 2 * SIZE);
    private = one(MAP_PRIVATE);
    shared = one(MAP_SHARED);
    if (reserved) {
        fill(private, SIZE, 1);
        fill(shared, SIZE, 2);
    }
}
static void check(void)
{
    char line[300];
    FILE *maps = fopen("/proc/self/smaps", "r");
    int huge = 0;
    while (fgets(line, sizeof line, maps))
        huge += strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " ht");
    fclose(maps);
    must(huge == 2);
    must(!reserved || (is_filled(private, SIZE, 1) && is_filled(shared, SIZE, 2)));
}
