/* A working directory that is gone. */
#include "state.h"
static int fd;
static void make(void)
{
    done(mkdir("gone", 0700));
    fd = done(open("gone", O_RDONLY | O_DIRECTORY));
    done(chdir("gone"));
    done(rmdir("../gone"));
}
static void check(void)
{
    struct stat seen, here;
    done(fstat(fd, &seen));
    done(stat(".", &here));
    must(S_ISDIR(seen.st_mode) && seen.st_ino == here.st_ino);
    must(access("/work/file_deleted_directory/gone", F_OK) < 0);
}
