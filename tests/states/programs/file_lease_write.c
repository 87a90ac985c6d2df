/* A lease for writing, and one that is being broken. */
#include "state.h"
static int fd, broken;
static void make(void)
{
    signal(SIGIO, SIG_IGN);
    fd = new_file("leased", 10, 5);
    done(fcntl(fd, F_SETLEASE, F_WRLCK));
    close(new_file("breaking", 10, 6));
    broken = done(open("breaking", O_RDONLY));
    done(fcntl(broken, F_SETLEASE, F_RDLCK));
    must(open("breaking", O_WRONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK);
}
static void check(void)
{
    must(fcntl(fd, F_GETLEASE) == F_WRLCK);
}
