/* A terminal that controls a session with a foreground group in it. */
#include "state.h"
static int master;
static pid_t leader;
static volatile pid_t *front;
static void make(void)
{
    front = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    master = done(posix_openpt(O_RDWR | O_NOCTTY));
    done(grantpt(master));
    done(unlockpt(master));
    leader = done(fork());
    if (leader == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(3);
        signal(SIGTTOU, SIG_IGN);
        done(setsid());
        int slave = done(open(ptsname(master), O_RDWR));
        close(master);
        done(ioctl(slave, TIOCSCTTY, 0));
        pid_t worker = done(fork());
        if (worker == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        done(setpgid(worker, worker));
        done(tcsetpgrp(slave, worker));
        front[0] = worker;
        for (;;)
            pause();
    }
    while (!front[0])
        usleep(1000);
}
static void check(void)
{
    pid_t now;
    done(ioctl(master, TIOCGPGRP, &now));
    must(now == front[0]);
    done(ioctl(master, 0x5429 /* TIOCGSID */, &now));
    must(now == leader);
    must(getsid(front[0]) == leader && getpgid(front[0]) == front[0]);
}
