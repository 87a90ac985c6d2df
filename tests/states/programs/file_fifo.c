/* A named pipe with something in it, and one whose name is gone. */
#include "state.h"
static int named, gone;
static void make(void)
{
    done(mkfifo("named", 0600));
    done(mkfifo("gone", 0600));
    named = done(open("named", O_RDWR));
    gone = done(open("gone", O_RDWR));
    done(unlink("gone"));
    must(write(named, "abc", 3) == 3 && write(gone, "defg", 4) == 4);
}
static void back(int fd, const char *expected)
{
    char got[10] = {0};
    ssize_t length = strlen(expected);
    must(read(fd, got, sizeof got) == length && memcmp(got, expected, length) == 0);
    must(write(fd, expected, length) == length);
}
static void check(void)
{
    back(named, "abc");
    back(gone, "defg");
    struct stat seen;
    done(stat("named", &seen));
    must(S_ISFIFO(seen.st_mode));
}
