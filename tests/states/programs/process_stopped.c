/* A child that is stopped, and goes on when it is told to. */
#include "state.h"
static pid_t kept;
static void make(void)
{
    kept = child(NULL);
    done(kill(kept, SIGSTOP));
    siginfo_t told;
    done(waitid(P_PID, kept, &told, WSTOPPED | WNOWAIT));
}
static char state(void)
{
    char path[40], text[300] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", kept);
    int fd = done(open(path, O_RDONLY));
    must(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strrchr(text, ')')[2];
}
static void check(void)
{
    must(state() == 'T');
    done(kill(kept, SIGCONT));
    for (int i = 0; state() != 'S'; i++) {
        must(i < 20000);
        usleep(1000);
    }
    done(kill(kept, SIGSTOP));
    for (int i = 0; state() != 'T'; i++) {
        must(i < 20000);
        usleep(1000);
    }
}
