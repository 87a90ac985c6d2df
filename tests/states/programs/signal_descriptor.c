/* signalfd with a signal in it. */
#include <sys/signalfd.h>
#include "state.h"
static int fd;
static void make(void)
{
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGUSR2);
    done(sigprocmask(SIG_BLOCK, &taken, NULL));
    fd = done(signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC));
    done(kill(getpid(), SIGUSR2));
}
static void check(void)
{
    struct signalfd_siginfo told;
    must(read(fd, &told, sizeof told) == sizeof told && told.ssi_signo == SIGUSR2);
    must(read(fd, &told, sizeof told) < 0 && errno == EAGAIN);
    done(kill(getpid(), SIGUSR2));
}
