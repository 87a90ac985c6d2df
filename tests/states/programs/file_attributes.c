/* Extended attributes of several name spaces, an access list, a program's capability. */
#include <sys/xattr.h>
#include "state.h"
static const char capability[20] = {0, 0, 0, 2, 0, 4};
static const unsigned char list[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 57, 48, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255};
static void make(void)
{
    close(new_file("f", 10, 3));
    done(mkdir("d", 0700));
    done(setxattr("f", "user.word", "value", 5, 0));
    done(setxattr("d", "trusted.word", "of root", 7, 0));
    done(setxattr("f", "security.capability", capability, sizeof capability, 0));
    done(setxattr("f", "system.posix_acl_access", list, sizeof list, 0));
}
static int has(const char *path, const char *name, const void *value, ssize_t length)
{
    char got[200];
    return getxattr(path, name, got, sizeof got) == length && memcmp(got, value, length) == 0;
}
static void check(void)
{
    must(has("f", "user.word", "value", 5));
    must(has("d", "trusted.word", "of root", 7));
    must(has("f", "security.capability", capability, sizeof capability));
    must(has("f", "system.posix_acl_access", list, sizeof list));
}
