/* A lease for writing: nobody else has the file open. */
#include "state.h"
static int fd;
static void make(void)
{
    signal(SIGIO, SIG_IGN);
    fd = new_file("leased", 10, 5);
    done(fcntl(fd, F_SETLEASE, F_WRLCK));
}
static void check(void)
{
    must(fcntl(fd, F_GETLEASE) == F_WRLCK);
}
