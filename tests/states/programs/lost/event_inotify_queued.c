/* inotify: an event that nobody has read yet. */
#include <sys/inotify.h>
#include "state.h"
static int fd;
static void make(void)
{
    done(mkdir("watched", 0700));
    fd = done(inotify_init1(IN_NONBLOCK));
    done(inotify_add_watch(fd, "watched", IN_CREATE));
    close(done(open("watched/new", O_CREAT | O_WRONLY, 0600)));
}
static void check(void)
{
    int waiting = 0;
    done(ioctl(fd, 0x541B /* FIONREAD */, &waiting));
    must(waiting > 0);
}
