/* A session and a group whose leaders have gone. */
#include "state.h"
static volatile pid_t *told;
static void make(void)
{
    told = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    done(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t leader = done(fork());
    if (leader == 0) {
        close(3);
        done(setsid());
        for (int i = 0; i < 2; i++)
            if (done(fork()) == 0) {
                told[1 + i] = getpid();
                for (;;)
                    pause();
            }
        while (!told[1] || !told[2])
            usleep(1000);
        _exit(0);
    }
    told[0] = leader;
    done(waitpid(leader, NULL, 0));
}
static void check(void)
{
    for (int i = 1; i < 3; i++)
        must(getsid(told[i]) == told[0] && getpgid(told[i]) == told[0]);
    must(kill(told[0], 0) < 0 && errno == ESRCH);
}
