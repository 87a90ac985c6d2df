/* Locks of an open file description (F_OFD_SETLK). */
#include "state.h"
static int fd;
static void make(void)
{
    fd = new_file("locked", 1000, 10);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
    done(fcntl(fd, F_OFD_SETLK, &lock));
}
static void check(void)
{
    int again = done(open("locked", O_RDWR));
    struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    done(fcntl(again, F_OFD_GETLK, &asked));
    must(asked.l_type == F_WRLCK && asked.l_start == 3 && asked.l_len == 4);
    close(again);
}
