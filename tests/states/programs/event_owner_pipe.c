/* Who owns a pipe's signals (F_SETOWN) and by which number they come. */
#include "state.h"
static int ends[2];
static pid_t other;
static void make(void)
{
    other = child(NULL);
    done(pipe(ends));
    done(fcntl(ends[0], F_SETOWN, getpid()));
    done(fcntl(ends[0], F_SETSIG, SIGUSR2));
    struct f_owner_ex owner = {F_OWNER_PGRP, getpgrp()};
    done(fcntl(ends[1], F_SETOWN_EX, &owner));
}
static void check(void)
{
    struct f_owner_ex owner;
    must(fcntl(ends[0], F_GETOWN) == getpid() && fcntl(ends[0], F_GETSIG) == SIGUSR2);
    done(fcntl(ends[1], F_GETOWN_EX, &owner));
    must(owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
}
