/* A child in a cgroup namespace of its own. */
#include "state.h"
static char there[100], here[100];
static pid_t pid;
static void begin(void)
{
    done(unshare(CLONE_NEWCGROUP));
}
static void make(void)
{
    pid = child(begin);
}
static void check(void)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/ns/cgroup", pid);
    must(readlink(name, there, 99) > 0 && readlink("/proc/self/ns/cgroup", here, 99) > 0 && strcmp(here, there) != 0);
}
