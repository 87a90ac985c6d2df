/* Memory that may be merged (KSM), by advice and for a whole process. */
#include "state.h"
static void make(void)
{
    done(prctl(67, 1, 0, 0, 0));
}
static void check(void)
{
    must(prctl(68, 0, 0, 0, 0) == 1);
}
