/* Offset and flags of open files; one file with two descriptors, and two files of one name. */
#include "state.h"
static int one, same, other;
static void make(void)
{
    one = new_file("data", 5000, 1);
    done(lseek(one, 1234, SEEK_SET));
    same = done(dup(one));
    other = done(open("data", O_RDONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC));
    done(lseek(other, 77, SEEK_SET));
}
static void check(void)
{
    must(lseek(same, 0, SEEK_CUR) == 1234);
    must(lseek(other, 0, SEEK_CUR) == 77);
    done(lseek(one, 1, SEEK_CUR));
    must(lseek(same, -1, SEEK_CUR) == 1234);
    must((fcntl(one, F_GETFL) & O_ACCMODE) == O_RDWR);
    must((fcntl(other, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == (O_RDONLY | O_APPEND | O_NONBLOCK));
    must(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(one, F_GETFD) == 0);
    char read_back[5000];
    must(pread(one, read_back, 5000, 0) == 5000 && is_filled(read_back, 5000, 1));
}
