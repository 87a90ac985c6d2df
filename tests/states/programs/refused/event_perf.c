/* A counter of perf. */
#include <linux/perf_event.h>
#include "state.h"
static int fd;
static void make(void)
{
    struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE, .size = sizeof what, .config = PERF_COUNT_SW_TASK_CLOCK};
    fd = done(syscall(SYS_perf_event_open, &what, 0, -1, -1, 0));
}
static void check(void)
{
    uint64_t count;
    must(read(fd, &count, 8) == 8);
}
