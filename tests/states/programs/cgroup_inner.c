/* A control group of the container's own, into which this process has moved itself. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    done(mkdir("cg", 0700));
    done(mount("cgroup", "cg", "cgroup", 0, "pids"));
    done(mkdir("cg/inner", 0700));
    int fd = done(open("cg/inner/cgroup.procs", O_WRONLY));
    must(write(fd, "0", 1) == 1);
    close(fd);
    fd = done(open("cg/inner/pids.max", O_WRONLY));
    must(write(fd, "77", 2) == 2);
    close(fd);
}
static void check(void)
{
    char text[4000] = {0};
    int fd = done(open("/proc/self/cgroup", O_RDONLY));
    must(read(fd, text, 3999) > 0 && strstr(text, ":pids:/inner\n"));
    close(fd);
    fd = done(open("cg/inner/pids.max", O_RDONLY));
    must(read(fd, text, 10) == 3 && memcmp(text, "77\n", 3) == 0);
    close(fd);
}
