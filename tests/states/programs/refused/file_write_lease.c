/* A write lease: nobody else may have the file open. */
#include "state.h"
static int fd;
static void make(void)
{
    close(new_file("leased", 10, 11));
    fd = done(open("leased", O_RDWR));
    done(fcntl(fd, F_SETLEASE, F_WRLCK));
}
static void check(void)
{
    must(fcntl(fd, F_GETLEASE) == F_WRLCK);
}
