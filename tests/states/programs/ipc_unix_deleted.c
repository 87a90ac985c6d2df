/* Unix sockets: whose name is gone, whose name another has now, and one bound by a relative name. */
#include <sys/un.h>
#include "state.h"
static int gone, replaced, replacing, relative;
static int bound(const char *path)
{
    struct sockaddr_un name = {AF_UNIX};
    strcpy(name.sun_path, path);
    int fd = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    done(bind(fd, (void *)&name, sizeof name));
    return fd;
}
static int reached(const char *path, int fd)
{
    struct sockaddr_un name = {AF_UNIX};
    strcpy(name.sun_path, path);
    int sender = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    char byte;
    int right = sendto(sender, "x", 1, 0, (void *)&name, sizeof name) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
    close(sender);
    return right;
}
static void make(void)
{
    gone = bound("gone");
    done(unlink("gone"));
    replaced = bound("twice");
    done(unlink("twice"));
    replacing = bound("twice");
    done(mkdir("deep", 0700));
    done(chdir("deep"));
    relative = bound("here");
    done(chdir(".."));
}
static void check(void)
{
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    done(getsockname(gone, (void *)&name, &length));
    must(strcmp(name.sun_path, "gone") == 0 && access("gone", F_OK) < 0);
    must(reached("twice", replacing));
    must(reached("deep/here", relative));
}
