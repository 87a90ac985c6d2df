/* Flags of open files: appending, synchronous, direct, without times. */
#include "state.h"
static int append, direct, sync_, quiet;
static void make(void)
{
    close(new_file("f", 8192, 5));
    append = done(open("f", O_WRONLY | O_APPEND));
    direct = open("f", O_RDONLY | O_DIRECT);
    if (direct < 0)
        direct = done(open("f", O_RDONLY));
    sync_ = done(open("f", O_WRONLY | O_DSYNC | O_NONBLOCK));
    quiet = done(open("f", O_RDONLY | O_NOATIME | O_CLOEXEC));
}
static void check(void)
{
    must((fcntl(append, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY));
    must(fcntl(direct, F_GETFL) & O_DIRECT);
    must((fcntl(sync_, F_GETFL) & (O_SYNC | O_NONBLOCK)) == (O_DSYNC | O_NONBLOCK));
    must(fcntl(quiet, F_GETFL) & O_NOATIME && fcntl(quiet, F_GETFD) == FD_CLOEXEC);
    void *page;
    must(posix_memalign(&page, 4096, 8192) == 0);
    must(pread(direct, page, 8192, 0) == 8192 && is_filled(page, 8192, 5));
    free(page);
    must(write(append, "tail", 4) == 4 && lseek(append, 0, SEEK_CUR) == 8196);
    done(ftruncate(append, 8192));
}
