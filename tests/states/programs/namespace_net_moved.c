/* A pair of interfaces, one of them in a child's network namespace. */
#include <linux/if_link.h>
#include <net/if.h>
#include "loopback.h"
static int told[2], ask[2];
static void make(void)
{
    done(pipe(told));
    done(pipe(ask));
    if (done(fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(unshare(CLONE_NEWNET));
        int fd = done(socket(AF_INET, SOCK_DGRAM, 0));
        struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
        done(ioctl(fd, SIOCSIFFLAGS, &lo));
        struct sockaddr_in *address = (void *)&lo.ifr_addr;
        *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.9.8.7")};
        strcpy(lo.ifr_name, "lo:1");
        done(ioctl(fd, SIOCSIFADDR, &lo));
        close(fd);
        must(write(told[1], "b", 1) == 1);
        char byte;
        while (read(ask[0], &byte, 1) == 1) {
            struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.9.8.7")};
            int tried = socket(AF_INET, SOCK_DGRAM, 0);
            int right = bind(tried, (void *)&name, sizeof name) == 0;
            close(tried);
            must(write(told[1], right ? "y" : "n", 1) == 1);
        }
        _exit(0);
    }
    char byte;
    must(read(told[0], &byte, 1) == 1);
}
static void check(void)
{
    char byte = 0;
    must(write(ask[1], "?", 1) == 1 && read(told[0], &byte, 1) == 1 && byte == 'y');
}
