/* A key in the process's session keyring. */
#include <linux/keyctl.h>
#include "state.h"
static long key;
static void make(void)
{
    done(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
    key = done(syscall(SYS_add_key, "user", "kinds", "secret", 6, KEY_SPEC_SESSION_KEYRING));
}
static void check(void)
{
    char got[10];
    must(syscall(SYS_keyctl, KEYCTL_READ, key, got, 10) == 6 && memcmp(got, "secret", 6) == 0);
}
