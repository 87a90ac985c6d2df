/* /dev/tty, open in a session of its own. */
#include "state.h"
static int master;
static void make(void)
{
    int told[2];
    char byte;
    done(pipe(told));
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(setsid());
        int slave = done(open(ptsname(master), O_RDWR));
        done(ioctl(slave, TIOCSCTTY, 0));
        int tty = done(open("/dev/tty", O_RDWR));
        close(slave);
        close(master);
        must(write(told[1], "b", 1) == 1);
        char got[100];
        for (ssize_t length; (length = read(tty, got, 100)) > 0;)
            must(write(tty, "heard\n", 6) == 6);
        _exit(0);
    }
    must(read(told[0], &byte, 1) == 1);
}
static void check(void)
{
    char got[200] = {0};
    must(write(master, "hello\n", 6) == 6);
    for (size_t length = 0; !strstr(got, "heard"); length += done(read(master, got + length, 199 - length)))
        ;
}
