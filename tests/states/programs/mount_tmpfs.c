/* Mounts of the container's own: a tmpfs with content, one within it, a file bound. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    done(mkdir("t", 0700));
    done(mount("mine", "t", "tmpfs", MS_NOSUID, "size=2m,mode=711"));
    close(new_file("t/f", 5000, 1));
    done(mkdir("t/inner", 0700));
    done(mount("inner", "t/inner", "tmpfs", MS_NODEV | MS_NOEXEC, "size=1m"));
    close(new_file("t/inner/g", 100, 2));
}
static int holds(const char *path, size_t length, unsigned seed)
{
    char content[5000];
    int fd = done(open(path, O_RDONLY));
    int right = read(fd, content, 5000) == (ssize_t)length && is_filled(content, length, seed);
    close(fd);
    return right;
}
static void check(void)
{
    must(holds("t/f", 5000, 1) && holds("t/inner/g", 100, 2));
    struct stat told;
    done(stat("t", &told));
    must((told.st_mode & 07777) == 0711);
}
