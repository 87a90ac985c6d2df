/* A terminal's slave whose master is gone. */
#include "state.h"
static int slave;
static void make(void)
{
    int master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    close(master);
}
static void check(void)
{
    char byte;
    must(read(slave, &byte, 1) == 0);
    must(write(slave, "x", 1) < 0 && errno == EIO);
}
