/* fanotify: an inode that is watched, and what of it is passed over. */
#include <sys/fanotify.h>
#include "state.h"
static int fd;
static void make(void)
{
    close(new_file("watched", 10, 20));
    close(new_file("other", 10, 21));
    fd = done(fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY));
    done(fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, "watched"));
}
static void check(void)
{
    struct fanotify_event_metadata got[8];
    while (read(fd, got, sizeof got) > 0)
        close(got[0].fd);
    int other = done(open("other", O_WRONLY));
    must(write(other, "x", 1) == 1);
    close(other);
    must(read(fd, got, sizeof got) < 0 && errno == EAGAIN);
    int opened = done(open("watched", O_WRONLY));
    must(write(opened, "x", 1) == 1);
    close(opened);
    must(read(fd, got, sizeof got) > 0 && got[0].mask & FAN_MODIFY && got[0].pid == getpid());
    close(got[0].fd);
}
