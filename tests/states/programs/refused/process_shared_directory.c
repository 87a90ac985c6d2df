/* A process that shares its working directory with its parent (CLONE_FS). */
#include "state.h"
static volatile int *shared;
static char stack[65536];
static int other(void *unused)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(3);
    for (int seen = 0;; usleep(1000))
        if (shared[0] != seen) {
            shared[1] = chdir(shared[0] % 2 ? "in" : "..") == 0;
            shared[2] = seen = shared[0];
        }
    return 0;
}
static void make(void)
{
    done(mkdir("in", 0700));
    shared = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    done(clone(other, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL));
}
static void check(void)
{
    char before[200], after[200];
    must(getcwd(before, 200));
    shared[0]++;
    for (int i = 0; i < 20000 && shared[2] != shared[0]; i++)
        usleep(1000);
    must(shared[2] == shared[0] && shared[1] && getcwd(after, 200) && strcmp(before, after) != 0);
}
