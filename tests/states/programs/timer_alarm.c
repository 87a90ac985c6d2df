/* alarm(2), and who waits for it. */
#include "state.h"
static void make(void)
{
    alarm(5000);
}
static void check(void)
{
    unsigned left = alarm(0);
    must(left > 4000 && left <= 5000);
    alarm(left);
}
