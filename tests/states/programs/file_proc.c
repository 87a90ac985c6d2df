/* Files of /proc that are open: of this process, and of the system. */
#include "state.h"
static int own, kernel;
static void make(void)
{
    own = done(open("/proc/self/status", O_RDONLY));
    kernel = done(open("/proc/sys/kernel/hostname", O_RDONLY));
}
static void check(void)
{
    char text[4000];
    ssize_t got = done(pread(own, text, sizeof text - 1, 0));
    text[got] = 0;
    char mine[40];
    snprintf(mine, sizeof mine, "Pid:\t%d\n", getpid());
    must(strstr(text, mine));
    must(pread(kernel, text, sizeof text, 0) > 1);
}
