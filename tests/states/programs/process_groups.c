/* Additional groups. */
#include <grp.h>
#include "state.h"
static void make(void)
{
    done(setgroups(3, (gid_t[]){10, 2000, 70000}));
}
static void check(void)
{
    gid_t now[10];
    must(getgroups(10, now) == 3 && now[0] == 10 && now[1] == 2000 && now[2] == 70000);
    must(getuid() == 0 && getegid() == 0);
}
