/* inotify: watches go on, under the same numbers. */
#include <sys/inotify.h>
#include "state.h"
static int fd, directory, file;
static void make(void)
{
    close(new_file("watched", 10, 60));
    done(mkdir("inner", 0700));
    fd = done(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    directory = done(inotify_add_watch(fd, "inner", IN_CREATE | IN_DELETE));
    file = done(inotify_add_watch(fd, "watched", IN_MODIFY));
}
static void check(void)
{
    char got[4096] __attribute__((aligned(8)));
    while (read(fd, got, sizeof got) > 0)
        ;
    close(done(open("inner/new", O_WRONLY | O_CREAT, 0600)));
    struct inotify_event *told = (void *)got;
    must(read(fd, got, sizeof got) > 0 && told->wd == directory && told->mask == IN_CREATE && strcmp(told->name, "new") == 0);
    done(unlink("inner/new"));
    while (read(fd, got, sizeof got) > 0)
        ;
    int opened = done(open("watched", O_WRONLY));
    must(write(opened, "x", 1) == 1);
    must(read(fd, got, sizeof got) > 0 && told->wd == file && told->mask == IN_MODIFY);
    close(opened);
}
