/* A child in a network namespace of its own, listening there. */
#include "loopback.h"
#include <net/if.h>
static int told[2], ask[2];
static void make(void)
{
    done(pipe(told));
    done(pipe(ask));
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(unshare(CLONE_NEWNET));
        int control = done(socket(AF_INET, SOCK_DGRAM, 0));
        struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
        done(ioctl(control, 0x8914 /* SIOCSIFFLAGS */, &up));
        struct sockaddr_in bound;
        int listener = listening(&bound, 3);
        char byte;
        while (read(ask[0], &byte, 1) == 1) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            int right = connect(fd, (void *)&bound, sizeof bound) == 0;
            close(accept(listener, NULL, NULL));
            close(fd);
            must(write(told[1], right ? "y" : "n", 1) == 1);
        }
        _exit(0);
    }
}
static void check(void)
{
    char byte = 0;
    must(write(ask[1], "?", 1) == 1 && read(told[0], &byte, 1) == 1 && byte == 'y');
}
