/* A child whose clocks are set otherwise. */
#include "state.h"
static void make(void)
{
    done(unshare(0x80 /* CLONE_NEWTIME */));
    int fd = done(open("/proc/self/timens_offsets", O_WRONLY));
    must(write(fd, "monotonic 5000 0\n", 17) == 17);
    close(fd);
    child(NULL);
}
static void check(void)
{
}
