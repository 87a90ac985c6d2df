/* Two processes, each in a directory of its own that is gone. */
#include "state.h"
static int told[2], ask[2];
static void make(void)
{
    done(pipe(told));
    done(pipe(ask));
    done(mkdir("gone", 0700));
    done(mkdir("gone/deep", 0710));
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(chdir("gone/deep"));
        must(write(told[1], "b", 1) == 1);
        char byte;
        while (read(ask[0], &byte, 1) == 1) {
            struct stat now;
            int right = stat(".", &now) == 0 && now.st_nlink == 0 && (now.st_mode & 07777) == 0710;
            must(write(told[1], right ? "y" : "n", 1) == 1);
        }
        _exit(0);
    }
    char byte;
    must(read(told[0], &byte, 1) == 1);
    done(rmdir("gone/deep"));
    done(rmdir("gone"));
}
static void check(void)
{
    char byte = 0;
    must(write(ask[1], "?", 1) == 1 && read(told[0], &byte, 1) == 1 && byte == 'y');
}
