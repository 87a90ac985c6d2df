/* A child in a user namespace of its own. */
#include "state.h"
static void begin(void)
{
    done(unshare(CLONE_NEWUSER));
}
static void make(void)
{
    child(begin);
}
static void check(void)
{
}
