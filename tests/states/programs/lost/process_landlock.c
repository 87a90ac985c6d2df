/* Rules of Landlock. */
#include "state.h"
static void make(void)
{
    uint64_t rights[2] = {1 << 3, 0};
    int fd = done(syscall(444, rights, 8, 0));
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    done(syscall(446, fd, 0));
    close(fd);
}
static void check(void)
{
    must(open("/", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
}
