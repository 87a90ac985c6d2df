/* flock(2): who took it has gone, a child has the description from it. */
#include <sys/file.h>
#include "state.h"
static int fd;
static void make(void)
{
    fd = new_file("locked", 10, 4);
    pid_t taker = done(fork());
    if (taker == 0) {
        done(flock(fd, LOCK_EX));
        _exit(0);
    }
    done(waitpid(taker, NULL, 0));
    child(NULL);
}
static void check(void)
{
    int other = done(open("locked", O_RDWR));
    must(flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    close(other);
    done(flock(fd, LOCK_EX | LOCK_NB));
}
