/* Record locks: who asks is told who has them. */
#include "state.h"
static int fd;
static void make(void)
{
    fd = new_file("locked", 1000, 7);
    struct flock write_lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
    struct flock read_lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 0};
    done(fcntl(fd, F_SETLK, &write_lock));
    done(fcntl(fd, F_SETLK, &read_lock));
}
static void check(void)
{
    pid_t holder = getpid();
    pid_t asking = done(fork());
    if (asking == 0) {
        struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 50};
        must(fcntl(fd, F_GETLK, &asked) == 0);
        must(asked.l_type == F_WRLCK && asked.l_start == 10 && asked.l_len == 20 && asked.l_pid == holder);
        asked = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5000, .l_len = 1};
        must(fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type == F_RDLCK && asked.l_start == 100);
        _exit(0);
    }
    int status;
    done(waitpid(asking, &status, 0));
    must(status == 0);
}
