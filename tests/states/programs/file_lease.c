/* A lease: somebody else's open waits for it, or is told. */
#include "state.h"
static int fd;
static void make(void)
{
    close(new_file("leased", 10, 11));
    fd = done(open("leased", O_RDONLY));
    done(fcntl(fd, F_SETLEASE, F_RDLCK));
}
static void check(void)
{
    must(fcntl(fd, F_GETLEASE) == F_RDLCK);
}
