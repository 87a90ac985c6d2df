/* A child in an IPC namespace of its own. */
#include "state.h"
static void begin(void)
{
    done(unshare(CLONE_NEWIPC));
}
static void make(void)
{
    child(begin);
}
static void check(void)
{
}
