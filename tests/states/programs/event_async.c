/* O_ASYNC: a thread is told of input by a real-time signal (of si_fd see file_owner.c). */
#include "state.h"
static int pair[2];
static void make(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 3);
    done(sigprocmask(SIG_BLOCK, &blocked, NULL));
    done(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    done(fcntl(pair[0], F_SETSIG, SIGRTMIN + 3));
    struct f_owner_ex owner = {F_OWNER_TID, gettid()};
    done(fcntl(pair[0], F_SETOWN_EX, &owner));
    done(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK));
}
static void check(void)
{
    must(fcntl(pair[0], F_GETSIG) == SIGRTMIN + 3);
    must((fcntl(pair[0], F_GETFL) & (O_ASYNC | O_NONBLOCK)) == (O_ASYNC | O_NONBLOCK));
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGRTMIN + 3);
    siginfo_t told;
    char byte;
    while (sigtimedwait(&waited, &told, &(struct timespec){0, 0}) > 0)
        ;
    must(write(pair[1], "x", 1) == 1);
    must(sigtimedwait(&waited, &told, &(struct timespec){2, 0}) == SIGRTMIN + 3);
    must(read(pair[0], &byte, 1) == 1);
}
