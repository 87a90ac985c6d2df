/* Handlers with their masks and flags, on a stack of their own. */
#include "state.h"
static char stack[65536];
static char *volatile handled_on;
static void handler(int number, siginfo_t *told, void *context)
{
    handled_on = __builtin_frame_address(0);
    (void)number; (void)told; (void)context;
}
static void make(void)
{
    done(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL));
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER};
    sigaddset(&action.sa_mask, SIGQUIT);
    done(sigaction(SIGUSR1, &action, NULL));
    signal(SIGHUP, SIG_IGN);
}
static void check(void)
{
    struct sigaction now;
    done(sigaction(SIGUSR1, NULL, &now));
    must(now.sa_sigaction == handler && (now.sa_flags & (SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER)) == (SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER));
    must(sigismember(&now.sa_mask, SIGQUIT) && !sigismember(&now.sa_mask, SIGINT));
    done(sigaction(SIGHUP, NULL, &now));
    must(now.sa_handler == SIG_IGN);
    handled_on = NULL;
    raise(SIGUSR1);
    must(handled_on >= stack && handled_on < stack + sizeof stack);
}
