/* A zombie that leads a session, with a member that lives. */
#include "state.h"
static volatile pid_t *told;
static pid_t leader;
static void make(void)
{
    told = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    done(prctl(PR_SET_CHILD_SUBREAPER, 1));
    leader = done(fork());
    if (leader == 0) {
        close(3);
        done(setsid());
        if (done(fork()) == 0) {
            told[0] = getpid();
            for (;;)
                pause();
        }
        while (!told[0])
            usleep(1000);
        _exit(5);
    }
    siginfo_t info;
    done(waitid(P_PID, leader, &info, WEXITED | WNOWAIT));
}
static void check(void)
{
    siginfo_t info;
    must(getsid(told[0]) == leader);
    done(waitid(P_PID, leader, &info, WEXITED | WNOWAIT));
    must(info.si_status == 5);
}
