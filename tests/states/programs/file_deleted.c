/* A file without a name, and one of whose two names one is gone. */
#include "state.h"
static int ghost, linked;
static void make(void)
{
    ghost = new_file("ghost", 300000, 2);
    done(unlink("ghost"));
    linked = new_file("first", 100, 3);
    done(link("first", "second"));
    done(unlink("first"));
}
static void check(void)
{
    char content[300000];
    struct stat seen, named;
    must(pread(ghost, content, sizeof content, 0) == sizeof content && is_filled(content, sizeof content, 2));
    done(fstat(ghost, &seen));
    must(seen.st_nlink == 0 && access("ghost", F_OK) < 0);
    must(pread(linked, content, 200, 0) == 100 && is_filled(content, 100, 3));
    done(fstat(linked, &seen));
    done(stat("second", &named));
    must(seen.st_ino == named.st_ino && access("first", F_OK) < 0);
}
