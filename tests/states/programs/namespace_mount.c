/* A child in a mount namespace of its own, with a tmpfs that nobody else sees. */
#include <sys/mount.h>
#include "state.h"
static int told[2], ask[2];
static void make(void)
{
    done(pipe(told));
    done(pipe(ask));
    done(mkdir("own", 0700));
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(unshare(CLONE_NEWNS));
        done(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        done(mount("own", "own", "tmpfs", 0, "size=1m"));
        close(new_file("own/inside", 1000, 62));
        char byte;
        while (read(ask[0], &byte, 1) == 1) {
            int fd = open("own/inside", O_RDONLY);
            char content[1000];
            int right = fd >= 0 && read(fd, content, 1000) == 1000 && is_filled(content, 1000, 62);
            close(fd);
            must(write(told[1], right ? "y" : "n", 1) == 1);
        }
        _exit(0);
    }
}
static void check(void)
{
    char byte = 0;
    must(write(ask[1], "?", 1) == 1 && read(told[0], &byte, 1) == 1 && byte == 'y');
    must(access("own/inside", F_OK) < 0);
}
