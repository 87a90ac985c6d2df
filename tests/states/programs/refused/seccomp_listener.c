/* Calls that another process answers (SECCOMP_FILTER_FLAG_NEW_LISTENER). */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include "state.h"
static int fd;
static void make(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    fd = done(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &(struct sock_fprog){4, steps}));
}
static void check(void)
{
    must(fcntl(fd, F_GETFD) >= 0);
}
