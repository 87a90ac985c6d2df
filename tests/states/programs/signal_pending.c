/* Signals that are blocked and pending: of the process, of a thread, with a value. */
#include "state.h"
static sigset_t held;
static void raise_all(void)
{
    done(kill(getpid(), SIGUSR2));
    done(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4711}));
    done(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4712}));
    done(syscall(SYS_tgkill, getpid(), getpid(), SIGALRM));
}
static void make(void)
{
    sigemptyset(&held);
    sigaddset(&held, SIGUSR2);
    sigaddset(&held, SIGALRM);
    sigaddset(&held, SIGRTMIN + 3);
    done(sigprocmask(SIG_BLOCK, &held, NULL));
    raise_all();
}
static void check(void)
{
    sigset_t now;
    done(sigprocmask(SIG_BLOCK, NULL, &now));
    must(sigismember(&now, SIGUSR2) && sigismember(&now, SIGRTMIN + 3) && !sigismember(&now, SIGINT));
    done(sigpending(&now));
    must(sigismember(&now, SIGUSR2) && sigismember(&now, SIGALRM));
    siginfo_t told;
    sigset_t queued;
    sigemptyset(&queued);
    sigaddset(&queued, SIGRTMIN + 3);
    for (int value = 4711; value <= 4712; value++)
        must(sigtimedwait(&queued, &told, &(struct timespec){0, 0}) == SIGRTMIN + 3 && told.si_value.sival_int == value && told.si_pid == getpid());
    while (sigtimedwait(&held, &told, &(struct timespec){0, 0}) > 0)
        ;
    raise_all();
}
