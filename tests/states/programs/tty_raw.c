/* A terminal in raw mode, with its speed, characters and size of window. */
#include <termios.h>
#include "state.h"
static int master, slave;
static void make(void)
{
    struct termios raw;
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    done(tcgetattr(slave, &raw));
    cfmakeraw(&raw);
    cfsetspeed(&raw, B9600);
    raw.c_cc[VINTR] = 7;
    done(tcsetattr(slave, TCSANOW, &raw));
    done(ioctl(master, TIOCSWINSZ, &(struct winsize){33, 77, 3, 4}));
}
static void check(void)
{
    char got[10];
    struct termios now;
    struct winsize size;
    done(tcgetattr(slave, &now));
    must(!(now.c_lflag & (ICANON | ECHO | ISIG)) && now.c_cc[VINTR] == 7 && cfgetospeed(&now) == B9600);
    done(ioctl(slave, TIOCGWINSZ, &size));
    must(size.ws_row == 33 && size.ws_col == 77 && size.ws_xpixel == 3 && size.ws_ypixel == 4);
    must(write(master, "in", 2) == 2 && read(slave, got, 10) == 2);
    must(write(slave, "out", 3) == 3 && read(master, got, 10) == 3);
}
