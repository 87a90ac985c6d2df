/* Who gets the signal of a file (F_SETOWN, F_SETSIG). CRIU sets it at another number than the file
   has in the end, so that si_fd may be another afterwards: nothing is said of it. */
#include "state.h"
static int ends[2];
static void make(void)
{
    done(pipe(ends));
    done(fcntl(ends[0], F_SETOWN, getpid()));
    done(fcntl(ends[0], F_SETSIG, SIGRTMIN + 2));
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 2);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    done(fcntl(ends[0], F_SETFL, O_ASYNC));
}
static void check(void)
{
    must(fcntl(ends[0], F_GETOWN) == getpid());
    must(fcntl(ends[0], F_GETSIG) == SIGRTMIN + 2);
    must(fcntl(ends[0], F_GETFL) & O_ASYNC);
    must(write(ends[1], "x", 1) == 1);
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGRTMIN + 2);
    siginfo_t told;
    must(sigtimedwait(&waited, &told, &(struct timespec){5, 0}) == SIGRTMIN + 2);
    char byte;
    must(read(ends[0], &byte, 1) == 1);
    while (sigtimedwait(&waited, &told, &(struct timespec){0, 0}) > 0)
        ;
}
