/* A tree of processes, its groups and sessions. */
#include "state.h"
static volatile pid_t *pids;
static void stay(void) { for (;;) pause(); }
static void make(void)
{
    pids = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t first = done(fork());
    if (first == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        done(setsid());
        pid_t inner = done(fork());
        if (inner == 0) {
            done(setpgid(0, 0));
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            pid_t last = done(fork());
            if (last == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                stay();
            }
            pids[2] = last;
            stay();
        }
        pids[1] = inner;
        stay();
    }
    pids[0] = first;
    while (!pids[1] || !pids[2])
        usleep(1000);
    usleep(5000);
}
static void check(void)
{
    must(getsid(pids[0]) == pids[0] && getsid(pids[1]) == pids[0] && getsid(pids[2]) == pids[0]);
    must(getpgid(pids[1]) == pids[1] && getpgid(pids[2]) == pids[1]);
    char path[40], text[300] = {0}, expected[30];
    snprintf(path, sizeof path, "/proc/%d/stat", pids[2]);
    int fd = done(open(path, O_RDONLY));
    must(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    snprintf(expected, sizeof expected, " %d ", pids[1]);
    must(strncmp(strrchr(text, ')') + 3, expected, strlen(expected)) == 0);
}
