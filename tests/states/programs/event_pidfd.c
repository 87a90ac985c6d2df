/* A pidfd of a child. */
#include "state.h"
static pid_t kept;
static int fd;
static void make(void)
{
    kept = child(NULL);
    fd = done(syscall(SYS_pidfd_open, kept, 0));
}
static void check(void)
{
    must(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
    char path[60], text[500] = {0}, expected[40];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = done(open(path, O_RDONLY));
    must(read(info, text, sizeof text - 1) > 0);
    close(info);
    snprintf(expected, sizeof expected, "Pid:\t%d\n", kept);
    must(strstr(text, expected));
}
