/* A socket of the kernel's ciphers (AF_ALG). */
#include <linux/if_alg.h>
#include "state.h"
static int fd;
static void make(void)
{
    struct sockaddr_alg name = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
    fd = done(socket(AF_ALG, SOCK_SEQPACKET, 0));
    done(bind(fd, (void *)&name, sizeof name));
}
static void check(void)
{
    must(fcntl(fd, F_GETFD) >= 0);
}
