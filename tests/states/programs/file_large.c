/* A file of more than 4 GiB, nearly all of it a hole, read and mapped beyond. */
#include "state.h"
#define FAR (5L << 30)
static int fd;
static char *mapped;
static void make(void)
{
    fd = new_file("large", 100, 1);
    char page[4096];
    fill(page, 4096, 9);
    must(pwrite(fd, page, 4096, FAR) == 4096);
    done(lseek(fd, FAR + 7, SEEK_SET));
    mapped = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, FAR));
}
static void check(void)
{
    struct stat told;
    done(fstat(fd, &told));
    must(told.st_size == FAR + 4096 && told.st_blocks * 512 < 1 << 20);
    must(lseek(fd, 0, SEEK_CUR) == FAR + 7 && is_filled(mapped, 4096, 9));
}
