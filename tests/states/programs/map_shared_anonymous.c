/* Memory that a parent and its child share. */
#include "state.h"
static volatile unsigned *shared;
static void begin(void)
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            if (shared[0] != shared[1])
                shared[1] = shared[0];
            usleep(1000);
        }
    }
}
static void make(void)
{
    shared = done(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    fill((char *)shared + 4096, (1 << 20) - 4096, 23);
    child(begin);
}
static void check(void)
{
    must(is_filled((char *)shared + 4096, (1 << 20) - 4096, 23));
    shared[0]++;
    for (int i = 0; shared[1] != shared[0]; i++) {
        must(i < 20000);
        usleep(1000);
    }
}
