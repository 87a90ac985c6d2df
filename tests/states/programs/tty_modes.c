/* A terminal that is locked, exclusive and in packet mode. */
#include <termios.h>
#include "state.h"
static int master, slave;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    done(ioctl(master, TIOCPKT, &(int){1}));
    done(ioctl(slave, TIOCEXCL));
    struct termios raw;
    done(tcgetattr(slave, &raw));
    cfmakeraw(&raw);
    done(tcsetattr(slave, TCSANOW, &raw));
    char got[10];
    while (fcntl(master, F_SETFL, O_NONBLOCK) == 0 && read(master, got, 10) > 0)
        ;
}
static void check(void)
{
    int packets = 0, exclusive = 0;
    char got[10];
    done(ioctl(master, TIOCGPKT, &packets));
    done(ioctl(slave, TIOCGEXCL, &exclusive));
    must(packets == 1 && exclusive == 1);
    struct termios now;
    done(tcgetattr(slave, &now));
    must(!(now.c_lflag & ICANON) && !(now.c_lflag & ECHO));
    while (read(master, got, 10) > 0 && got[0] != 0)
        ;
    must(write(slave, "out", 3) == 3);
    for (int i = 0; i < 1000; i++) {
        ssize_t length = read(master, got, 10);
        if (length == 4 && got[0] == 0 && memcmp(got + 1, "out", 3) == 0)
            return;
        usleep(1000);
    }
    must(!"what was written came");
}
