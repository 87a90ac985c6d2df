/* A terminal that nobody else may open (TIOCEXCL). */
#include "state.h"
static int master, slave;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    done(ioctl(slave, TIOCEXCL));
}
static void check(void)
{
    int exclusive = 0;
    done(ioctl(slave, TIOCGEXCL, &exclusive));
    must(exclusive == 1);
}
