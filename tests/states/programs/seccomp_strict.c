/* Strict mode: nothing but read, write and exit. */
#include "state.h"
static pid_t kept;
static int ask[2], answer[2];
static void make(void)
{
    done(pipe(ask));
    done(pipe(answer));
    kept = done(fork());
    if (kept == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        done(prctl(PR_SET_SECCOMP, 1 /* SECCOMP_MODE_STRICT */));
        char byte;
        while (syscall(SYS_read, ask[0], &byte, 1) == 1)
            syscall(SYS_write, answer[1], &byte, 1);
        syscall(SYS_exit, 0);
    }
}
static void check(void)
{
    char byte = 0;
    must(write(ask[1], "e", 1) == 1 && read(answer[0], &byte, 1) == 1 && byte == 'e');
    char path[40], text[3000] = {0};
    snprintf(path, sizeof path, "/proc/%d/status", kept);
    int fd = done(open(path, O_RDONLY));
    must(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    must(strstr(text, "Seccomp:\t1\n"));
}
