/* A file that has more blocks than content. */
#include "state.h"
static int fd;
static void make(void)
{
    fd = new_file("allocated", 100, 2);
    done(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
}
static void check(void)
{
    char content[200];
    struct stat told;
    done(fstat(fd, &told));
    must(told.st_size == 100 && pread(fd, content, 200, 0) == 100 && is_filled(content, 100, 2));
}
