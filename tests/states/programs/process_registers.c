/* A loop that lives in floating point and vector registers and is cut off anywhere. */
#include "state.h"
static volatile double *shared;
static void calculate(void)
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            double a = 1.0, b = 0.0, c = 1024.0;
            for (int i = 0; i < 300000; i++) {
                a = a + 0.5;
                b = b + a;
                c = c * 0.5 + 512.0;
            }
            if (a != 150001.0 || b != 22500375000.0 || c != 1024.0)
                shared[1] = shared[1] + 1;
            shared[0] = shared[0] + 1;
            usleep(1000);
        }
    }
}
static void make(void)
{
    shared = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child(calculate);
}
static void check(void)
{
    double before = shared[0];
    for (int i = 0; shared[0] < before + 2; i++) {
        must(i < 20000);
        usleep(1000);
    }
    must(shared[1] == 0);
}
