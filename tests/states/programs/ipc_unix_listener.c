/* A listening unix socket, and one that has been connected to it and not been accepted. */
#include <sys/un.h>
#include "state.h"
static int listener, waiting;
static struct sockaddr_un name = {AF_UNIX, "listener"};
static void make(void)
{
    listener = done(socket(AF_UNIX, SOCK_STREAM, 0));
    done(bind(listener, (void *)&name, sizeof name));
    done(chmod("listener", 0751));
    done(listen(listener, 5));
    waiting = done(socket(AF_UNIX, SOCK_STREAM, 0));
    done(connect(waiting, (void *)&name, sizeof name));
}
static void check(void)
{
    struct stat seen;
    done(stat("listener", &seen));
    must(S_ISSOCK(seen.st_mode) && (seen.st_mode & 0777) == 0751);
    char got[10];
    int accepted = done(accept(listener, NULL, NULL));
    must(write(waiting, "early", 5) == 5 && read(accepted, got, 10) == 5 && memcmp(got, "early", 5) == 0);
    must(write(accepted, "answer", 6) == 6 && read(waiting, got, 10) == 6);
    close(accepted);
    close(waiting);
    waiting = done(socket(AF_UNIX, SOCK_STREAM, 0));
    done(connect(waiting, (void *)&name, sizeof name));
}
