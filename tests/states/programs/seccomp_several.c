/* Several filters, one upon the other. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include "state.h"
static void refuse(int call, int number)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    done(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &(struct sock_fprog){4, steps}));
}
static void make(void)
{
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    refuse(SYS_getppid, 71);
    refuse(SYS_getpgid, 72);
    refuse(SYS_getppid, 73);
}
static void check(void)
{
    must(syscall(SYS_getppid) < 0 && errno == 73);
    must(syscall(SYS_getpgid, 0) < 0 && errno == 72);
    must(getuid() == 0);
}
