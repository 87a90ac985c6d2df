/* Pipes: with data, of another size, without a reader, without a writer. */
#include "state.h"
static int full[2], deaf[2], mute[2];
static char content[100000];
static void make(void)
{
    done(pipe2(full, O_NONBLOCK));
    must(done(fcntl(full[1], F_SETPIPE_SZ, 262144)) == 262144);
    fill(content, sizeof content, 50);
    must(write(full[1], content, sizeof content) == sizeof content);
    done(pipe(deaf));
    close(deaf[0]);
    done(pipe(mute));
    must(write(mute[1], "left", 4) == 4);
    close(mute[1]);
    signal(SIGPIPE, SIG_IGN);
}
static void check(void)
{
    static char got[sizeof content];
    must(fcntl(full[1], F_GETPIPE_SZ) == 262144);
    must(read(full[0], got, sizeof got) == sizeof got && memcmp(got, content, sizeof got) == 0);
    must(read(full[0], got, 1) < 0 && errno == EAGAIN);
    must(write(full[1], content, sizeof content) == sizeof content);
    must(write(deaf[1], "x", 1) < 0 && errno == EPIPE);
    int waiting;
    done(ioctl(mute[0], 0x541B /* FIONREAD */, &waiting));
    must(waiting == 4);
}
