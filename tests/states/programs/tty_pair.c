/* A pseudo terminal: settings, window, what was typed and what was printed. */
#include <termios.h>
#include "state.h"
static int master, slave;
static struct termios settings;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    slave = done(open(ptsname(master), O_RDWR | O_NOCTTY));
    done(tcgetattr(slave, &settings));
    settings.c_lflag &= ~(ICANON | ECHO);
    settings.c_oflag &= ~OPOST;
    settings.c_cc[VINTR] = 7;
    done(tcsetattr(slave, TCSANOW, &settings));
    done(ioctl(master, TIOCSWINSZ, &(struct winsize){33, 99, 5, 6}));
}
static void check(void)
{
    struct termios now;
    struct winsize size;
    done(tcgetattr(slave, &now));
    must(now.c_lflag == settings.c_lflag && now.c_oflag == settings.c_oflag && now.c_cc[VINTR] == 7);
    done(ioctl(slave, TIOCGWINSZ, &size));
    must(size.ws_row == 33 && size.ws_col == 99);
    char got[10];
    must(write(master, "typed", 5) == 5 && read(slave, got, 10) == 5 && memcmp(got, "typed", 5) == 0);
    must(write(slave, "printed", 7) == 7 && read(master, got, 10) == 7 && memcmp(got, "printed", 7) == 0);
}
