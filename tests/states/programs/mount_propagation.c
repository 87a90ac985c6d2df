/* Shared and slave mounts: what is mounted on one comes up on the other. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    done(mkdir("a", 0700));
    done(mkdir("b", 0700));
    done(mkdir("c", 0700));
    done(mount("a", "a", "tmpfs", 0, "size=1m"));
    done(mount(NULL, "a", NULL, MS_SHARED, NULL));
    done(mkdir("a/in", 0700));
    done(mount("a", "b", NULL, MS_BIND, NULL));
    done(mount("a", "c", NULL, MS_BIND, NULL));
    done(mount(NULL, "c", NULL, MS_SLAVE, NULL));
}
static void check(void)
{
    done(mount("x", "a/in", "tmpfs", 0, "size=1m"));
    close(new_file("a/in/f", 10, 1));
    must(access("b/in/f", F_OK) == 0 && access("c/in/f", F_OK) == 0);
    done(umount("a/in"));
    must(access("b/in/f", F_OK) < 0 && access("c/in/f", F_OK) < 0);
}
