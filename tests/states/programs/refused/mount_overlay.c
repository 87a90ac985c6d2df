/* An overlay of the container's own, over a tmpfs. */
#include <sys/mount.h>
#include "state.h"
static void make(void)
{
    done(mkdir("t", 0700));
    done(mount("t", "t", "tmpfs", 0, "size=2m"));
    const char *names[] = {"t/lower", "t/upper", "t/work", "t/merged"};
    for (int i = 0; i < 4; i++)
        done(mkdir(names[i], 0700));
    close(new_file("t/lower/old", 10, 1));
    char here[200], options[900];
    must(getcwd(here, sizeof here));
    snprintf(options, sizeof options, "lowerdir=%s/t/lower,upperdir=%s/t/upper,workdir=%s/t/work", here, here, here);
    done(mount("o", "t/merged", "overlay", 0, options));
    close(new_file("t/merged/new", 10, 2));
}
static void check(void)
{
    must(access("t/merged/old", F_OK) == 0 && access("t/merged/new", F_OK) == 0 && access("t/upper/new", F_OK) == 0);
}
