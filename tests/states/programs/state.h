/* A program that makes one kind of kernel state, and looks whether all is as it was made.

   Each program defines make() and check(). check() can be repeated: what it takes out of a queue it
   puts back. Descriptor 3 is the runner's: "r" is said when the state is made (and was checked
   once), "k" after each check that is asked for by "c"; at its end the program ends. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void make(void);
static void check(void);

__attribute__((unused)) static void failed(const char *file, int line, const char *what)
{
    dprintf(2, "%s:%d: %s (errno %d: %s)\n", file, line, what, errno, strerror(errno));
    _exit(1);
}

#define must(truth) do { if (!(truth)) failed(__FILE__, __LINE__, #truth); } while (0)
/* The value of a call that must not return -1. */
#define done(call) ({ __typeof__(call) got_ = (call); must(got_ != (__typeof__(call))-1); got_; })

/* Fill with bytes that depend on the position, or look whether they are there. */
__attribute__((unused)) static void fill(void *place, size_t length, unsigned seed)
{
    unsigned char *bytes = place;
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) + seed);
}

__attribute__((unused)) static int is_filled(const void *place, size_t length, unsigned seed)
{
    const unsigned char *bytes = place;
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != (unsigned char)(i * 31 + (i >> 8) + seed))
            return 0;
    return 1;
}

/* A file of the program's own directory, with content, open for reading and writing. */
__attribute__((unused)) static int new_file(const char *name, size_t length, unsigned seed)
{
    int fd = done(open(name, O_RDWR | O_CREAT | O_TRUNC, 0640));
    char *content = malloc(length);
    fill(content, length, seed);
    must(write(fd, content, length) == (ssize_t)length);
    free(content);
    return fd;
}

/* A child that lives until its parent has gone, after `begin` has run in it. */
__attribute__((unused)) static pid_t child(void (*begin)(void))
{
    int told[2];
    done(pipe(told));
    pid_t pid = done(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        if (begin)
            begin();
        must(write(told[1], "b", 1) == 1);
        close(told[0]);
        close(told[1]);
        for (;;)
            pause();
    }
    char word;
    close(told[1]);
    must(read(told[0], &word, 1) == 1);
    close(told[0]);
    return pid;
}

static char next_word(void)
{
    char word;
    ssize_t got;
    do
        got = syscall(SYS_read, 3, &word, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? word : 0;
}

int main(void)
{
    make();
    check();
    must(syscall(SYS_write, 3, "r", 1) == 1);
    while (next_word() == 'c') {
        check();
        must(syscall(SYS_write, 3, "k", 1) == 1);
    }
    syscall(SYS_exit, 0);
    return 0;
}
