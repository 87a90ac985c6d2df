/* A terminal's master whose slave nobody has open. */
#include "state.h"
static int master;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    close(done(open(ptsname(master), O_RDWR | O_NOCTTY)));
}
static void check(void)
{
    char got[10];
    int slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    must(write(master, "line\n", 5) == 5 && read(slave, got, 10) == 5 && memcmp(got, "line\n", 5) == 0);
    close(slave);
}
