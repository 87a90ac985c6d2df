/* A mount that is attached nowhere (open_tree). */
#include "state.h"
static int fd;
static void make(void)
{
    done(mkdir("d", 0700));
    fd = done(syscall(428, AT_FDCWD, "d", 1 /* OPEN_TREE_CLONE */));
}
static void check(void)
{
    must(openat(fd, ".", O_PATH) >= 0);
}
