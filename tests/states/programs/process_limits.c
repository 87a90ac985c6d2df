/* Resource limits, umask, niceness, scheduling, out-of-memory score. */
#include <sys/resource.h>
#include "state.h"
static void make(void)
{
    done(setrlimit(RLIMIT_NOFILE, &(struct rlimit){77, 99}));
    done(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 5000}));
    umask(0137);
    done(setpriority(PRIO_PROCESS, 0, 7));
    done(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}));
    int fd = done(open("/proc/self/oom_score_adj", O_WRONLY));
    must(write(fd, "321", 3) == 3);
    close(fd);
}
static void check(void)
{
    struct rlimit limit;
    done(getrlimit(RLIMIT_NOFILE, &limit));
    must(limit.rlim_cur == 77 && limit.rlim_max == 99);
    done(getrlimit(RLIMIT_CORE, &limit));
    must(limit.rlim_cur == 0 && limit.rlim_max == 5000);
    mode_t mask = umask(0);
    umask(mask);
    must(mask == 0137);
    errno = 0;
    must(getpriority(PRIO_PROCESS, 0) == 7 && errno == 0);
    must(sched_getscheduler(0) == SCHED_BATCH);
    char score[10] = {0};
    int fd = done(open("/proc/self/oom_score_adj", O_RDONLY));
    must(read(fd, score, 9) > 0 && atoi(score) == 321);
    close(fd);
}
