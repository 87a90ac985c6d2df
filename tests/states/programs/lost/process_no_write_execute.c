/* PR_SET_MDWE: no memory becomes executable. */
#include "state.h"
static void make(void)
{
    done(prctl(65, 1, 0, 0, 0));
}
static void check(void)
{
    must(prctl(66, 0, 0, 0, 0) == 1);
}
