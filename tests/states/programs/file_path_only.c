/* O_PATH: a descriptor that is only a place. */
#include "state.h"
static int fd;
static void make(void)
{
    close(new_file("place", 10, 6));
    fd = done(open("place", O_PATH));
}
static void check(void)
{
    char byte;
    must(read(fd, &byte, 1) < 0 && errno == EBADF);
    struct stat seen, named;
    done(fstat(fd, &seen));
    done(stat("place", &named));
    must(seen.st_ino == named.st_ino && seen.st_size == 10);
    must(fcntl(fd, F_GETFL) & O_PATH);
}
