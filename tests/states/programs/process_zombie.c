/* Children that have ended and nobody has asked after: by exit, and by a signal. */
#include "state.h"
static pid_t exited, killed;
static void make(void)
{
    exited = done(fork());
    if (exited == 0)
        _exit(37);
    killed = done(fork());
    if (killed == 0) {
        raise(SIGKILL);
        _exit(0);
    }
    siginfo_t told;
    done(waitid(P_PID, exited, &told, WEXITED | WNOWAIT));
    done(waitid(P_PID, killed, &told, WEXITED | WNOWAIT));
}
static void check(void)
{
    siginfo_t told;
    done(waitid(P_PID, exited, &told, WEXITED | WNOWAIT));
    must(told.si_code == CLD_EXITED && told.si_status == 37);
    done(waitid(P_PID, killed, &told, WEXITED | WNOWAIT));
    must(told.si_code == CLD_KILLED && told.si_status == SIGKILL);
}
