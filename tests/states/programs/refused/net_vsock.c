/* A socket to the machine's host (AF_VSOCK). */
#include "state.h"
static int fd;
static void make(void)
{
    fd = done(socket(AF_VSOCK, SOCK_STREAM, 0));
}
static void check(void)
{
    must(fcntl(fd, F_GETFD) >= 0);
}
