/* A process that shares its table of descriptors with its parent (CLONE_FILES). */
#include "state.h"
static volatile int *shared;
static char stack[65536];
static int other(void *unused)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int seen = 0;; usleep(1000))
        if (shared[0] != seen) {
            int fd = open("f", O_RDONLY);
            shared[1] = fd;
            seen = shared[0];
            shared[2] = seen;
        }
    return 0;
}
static void make(void)
{
    close(new_file("f", 10, 1));
    shared = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    done(clone(other, stack + sizeof stack, CLONE_FILES | SIGCHLD, NULL));
}
static void check(void)
{
    char content[10];
    shared[0]++;
    for (int i = 0; i < 20000 && shared[2] != shared[0]; i++)
        usleep(1000);
    must(shared[2] == shared[0] && pread(shared[1], content, 10, 0) == 10 && is_filled(content, 10, 1));
    close(shared[1]);
}
