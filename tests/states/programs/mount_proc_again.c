/* Another proc, another devpts, another sysfs. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    done(mkdir("p", 0700));
    done(mkdir("d", 0700));
    done(mount("proc", "p", "proc", 0, NULL));
    done(mount("pts", "d", "devpts", 0, "newinstance,ptmxmode=0666"));
}
static void check(void)
{
    must(access("p/self/stat", R_OK) == 0 && access("d/ptmx", F_OK) == 0);
}
