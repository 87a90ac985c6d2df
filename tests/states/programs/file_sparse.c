/* A large file with holes, and its times, mode and extended attribute. */
#include <sys/xattr.h>
#include "state.h"
static int fd;
static void make(void)
{
    fd = new_file("sparse", 4096, 12);
    must(pwrite(fd, "end", 3, 64 << 20) == 3);
    done(fchmod(fd, 04711));
    done(futimens(fd, (struct timespec[]){{1000000000, 5}, {1100000000, 7}}));
    done(fsetxattr(fd, "user.mark", "value", 5, 0));
}
static void check(void)
{
    struct stat seen;
    done(fstat(fd, &seen));
    must(seen.st_size == (64 << 20) + 3 && seen.st_blocks < 1000 && (seen.st_mode & 07777) == 04711);
    must(seen.st_mtim.tv_sec == 1100000000 && seen.st_mtim.tv_nsec == 7);
    char value[10];
    must(fgetxattr(fd, "user.mark", value, sizeof value) == 5 && memcmp(value, "value", 5) == 0);
}
