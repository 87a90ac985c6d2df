/* The first process of a container of programs: `runner NAME...` runs each in a directory of its own.

   Says "ready NAME" or "broken NAME", then "all ready"; at SIGUSR1 each checks itself: "intact NAME"
   or "broken NAME", then "all checked"; ends at SIGTERM. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 256

static int channels[MOST];

static void start(const char *name, int index, int count)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        exit(1);
    char directory[300], program[300];
    snprintf(directory, sizeof directory, "/work/%s", name);
    snprintf(program, sizeof program, "/states/%s", name);
    mkdir(directory, 0755);
    if (fork() == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        if (null > 3)
            close(null);
        if (pair[1] == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(pair[1], 3);
        if (chdir(directory) == 0)
            execl(program, program, NULL);
        dprintf(2, "%s: %s\n", program, strerror(errno));
        _exit(127);
    }
    close(pair[1]);
    channels[index] = pair[0];
    (void)count;
}

static void ask(int argc, char **argv, char expected, const char *good)
{
    for (int i = 1; i < argc; i++) {
        char word = 0;
        if (channels[i] < 0)
            continue;
        if (expected == 'k' && write(channels[i], "c", 1) != 1)
            word = 0;
        else if (read(channels[i], &word, 1) != 1)
            word = 0;
        printf("%s %s\n", word == expected ? good : "broken", argv[i]);
        if (word != expected) {
            close(channels[i]);
            channels[i] = -1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > MOST)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGUSR1);
    sigaddset(&waited, SIGTERM);
    sigprocmask(SIG_BLOCK, &waited, NULL);
    mkdir("/work", 0755);
    for (int i = 1; i < argc; i++)
        start(argv[i], i, argc);
    ask(argc, argv, 'r', "ready");
    printf("all ready\n");
    int number;
    while (sigwait(&waited, &number) == 0 && number == SIGUSR1) {
        ask(argc, argv, 'k', "intact");
        printf("all checked\n");
    }
    return 0;
}
