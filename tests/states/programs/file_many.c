/* A thousand open files, with gaps between their numbers. */
#include <sys/resource.h>
#include "state.h"
static void make(void)
{
    done(setrlimit(RLIMIT_NOFILE, &(struct rlimit){2048, 2048}));
    for (int i = 0; i < 500; i++) {
        char name[20];
        snprintf(name, sizeof name, "f%d", i);
        int fd = new_file(name, 10, i);
        done(lseek(fd, i % 10, SEEK_SET));
        done(dup2(fd, 600 + 2 * i));
        close(fd);
    }
}
static void check(void)
{
    for (int i = 0; i < 500; i++) {
        char content[10];
        must(lseek(600 + 2 * i, 0, SEEK_CUR) == i % 10);
        must(pread(600 + 2 * i, content, 10, 0) == 10 && is_filled(content, 10, i));
        must(fcntl(601 + 2 * i, F_GETFD) < 0);
    }
    struct rlimit limit;
    done(getrlimit(RLIMIT_NOFILE, &limit));
    must(limit.rlim_cur == 2048 && limit.rlim_max == 2048);
}
