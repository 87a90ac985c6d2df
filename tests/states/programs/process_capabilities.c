/* Capabilities given away, the bounding set, secure bits. */
#include <linux/capability.h>
#include <linux/securebits.h>
#include "state.h"
static struct __user_cap_data_struct kept[2];
static struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
static void make(void)
{
    done(syscall(SYS_capget, &head, kept));
    for (int i = 0; i < 2; i++) {
        kept[i].effective &= ~(1u << CAP_CHOWN);
        kept[i].permitted &= ~(1u << CAP_CHOWN);
        kept[i].inheritable = 0;
        if (i)
            kept[i].effective = kept[i].permitted;
    }
    done(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0));
    done(syscall(SYS_capset, &head, kept));
}
static void check(void)
{
    struct __user_cap_data_struct now[2];
    done(syscall(SYS_capget, &head, now));
    must(memcmp(now, kept, sizeof now) == 0);
    must(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 0 && prctl(PR_CAPBSET_READ, CAP_KILL, 0, 0, 0) == 1);
}
