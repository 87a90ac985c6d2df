/* A file bound over another, and a directory, read-only. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    close(new_file("source", 100, 1));
    close(new_file("over", 10, 2));
    done(mkdir("from", 0700));
    close(new_file("from/f", 20, 3));
    done(mkdir("to", 0700));
    done(mount("source", "over", NULL, MS_BIND, NULL));
    done(mount("from", "to", NULL, MS_BIND, NULL));
    done(mount(NULL, "to", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
}
static void check(void)
{
    char content[200];
    int fd = done(open("over", O_RDONLY));
    must(read(fd, content, 200) == 100 && is_filled(content, 100, 1));
    close(fd);
    must(open("to/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
    fd = done(open("to/f", O_RDONLY));
    must(read(fd, content, 200) == 20 && is_filled(content, 20, 3));
    close(fd);
}
