/* io_uring. */
#include <linux/io_uring.h>
#include "state.h"
static int fd;
static void make(void)
{
    struct io_uring_params how = {0};
    fd = done(syscall(SYS_io_uring_setup, 8, &how));
}
static void check(void)
{
    must(fcntl(fd, F_GETFD) >= 0);
}
