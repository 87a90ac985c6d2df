/* A terminal's master in packet mode (TIOCPKT). */
#include "state.h"
static int master;
static void make(void)
{
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(ioctl(master, TIOCPKT, &(int){1}));
}
static void check(void)
{
    int packets = 0;
    done(ioctl(master, TIOCGPKT, &packets));
    must(packets == 1);
}
