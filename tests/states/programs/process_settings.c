/* prctl(2): dumpable, subreaper, no huge pages, machine checks' policy left alone. */
#include "state.h"
static void make(void)
{
    done(prctl(PR_SET_DUMPABLE, 0));
    done(prctl(PR_SET_CHILD_SUBREAPER, 1));
    done(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
}
static void check(void)
{
    int reaper;
    must(prctl(PR_GET_DUMPABLE) == 0);
    done(prctl(PR_GET_CHILD_SUBREAPER, &reaper));
    must(reaper == 1 && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
}
