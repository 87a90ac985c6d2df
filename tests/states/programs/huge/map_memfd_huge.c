/* A memory file of huge pages. */
#include "state.h"
#define SIZE (2 << 20)
static int fd;
static char *place;
static void make(void)
{
    fd = done(memfd_create("huge", MFD_HUGETLB));
    done(ftruncate(fd, SIZE));
    place = done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    fill(place, SIZE, 3);
}
static void check(void)
{
    struct stat told;
    done(fstat(fd, &told));
    must(told.st_size == SIZE && told.st_blksize == SIZE && is_filled(place, SIZE, 3));
}
