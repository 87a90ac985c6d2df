/* A packet filter on a socket (SO_ATTACH_FILTER). */
#include <linux/filter.h>
#include "loopback.h"
static int fd;
static struct sockaddr_in bound;
static void make(void)
{
    struct sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, 0xffff), BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {4, steps};
    fd = done(socket(AF_INET, SOCK_DGRAM, 0));
    bound = local(0);
    done(bind(fd, (void *)&bound, sizeof bound));
    socklen_t length = sizeof bound;
    done(getsockname(fd, (void *)&bound, &length));
    done(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}
static void check(void)
{
    char got[10];
    int sender = done(socket(AF_INET, SOCK_DGRAM, 0));
    must(sendto(sender, "no", 2, 0, (void *)&bound, sizeof bound) == 2);
    must(sendto(sender, "yes", 3, 0, (void *)&bound, sizeof bound) == 3);
    must(recv(fd, got, 10, 0) == 3 && recv(fd, got, 10, MSG_DONTWAIT) < 0);
    close(sender);
}
