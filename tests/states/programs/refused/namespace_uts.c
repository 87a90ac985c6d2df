/* A child with a host name of its own. */
#include "state.h"
static void begin(void)
{
    done(unshare(CLONE_NEWUTS));
    done(sethostname("other", 5));
}
static void make(void)
{
    child(begin);
}
static void check(void)
{
}
