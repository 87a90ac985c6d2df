/* A tun device that this program has made. */
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/sysmacros.h>
#include "loopback.h"
static int fd;
static void make(void)
{
    mknod("tun", S_IFCHR | 0600, makedev(10, 200));
    fd = done(open("tun", O_RDWR));
    struct ifreq request = {.ifr_name = "own0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    done(ioctl(fd, TUNSETIFF, &request));
}
static void check(void)
{
    struct ifreq request = {0};
    done(ioctl(fd, TUNGETIFF, &request));
    must(strcmp(request.ifr_name, "own0") == 0 && request.ifr_flags & IFF_TUN && if_nametoindex("own0"));
}
