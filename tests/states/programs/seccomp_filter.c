/* A seccomp filter: one call is refused with an errno, before and after. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include "state.h"
static void make(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, steps};
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    done(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}
static void check(void)
{
    must(syscall(SYS_getppid) < 0 && errno == 77);
    must(getpid() > 0);
}
