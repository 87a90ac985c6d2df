/* A terminal that is exclusive and raw. */
#include <termios.h>
#include "state.h"
static int master, slave;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    done(ioctl(slave, TIOCEXCL));
    struct termios raw;
    done(tcgetattr(slave, &raw));
    cfmakeraw(&raw);
    done(tcsetattr(slave, TCSANOW, &raw));
}
static void check(void)
{
    int exclusive = 0;
    char got[10];
    done(ioctl(slave, TIOCGEXCL, &exclusive));
    must(exclusive == 1);
    struct termios now;
    done(tcgetattr(slave, &now));
    must(!(now.c_lflag & ICANON) && !(now.c_lflag & ECHO));
    must(write(master, "in", 2) == 2 && read(slave, got, 10) == 2);
    must(write(slave, "out", 3) == 3 && read(master, got, 10) == 3);
}
