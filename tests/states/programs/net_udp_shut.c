/* A connected UDP socket that is shut for writing, and one that is shut for reading. */
#include "loopback.h"
static int writing, reading;
static int one(int how)
{
    struct sockaddr_in name = local(9);
    int fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    done(connect(fd, (void *)&name, sizeof name));
    done(shutdown(fd, how));
    return fd;
}
static void make(void)
{
    signal(SIGPIPE, SIG_IGN);
    writing = one(SHUT_WR);
    reading = one(SHUT_RD);
}
static void check(void)
{
    char byte;
    must(send(writing, "x", 1, 0) < 0 && errno == EPIPE);
    must(recv(reading, &byte, 1, 0) == 0);
}
