/* A pipe of a size of its own, full, and who waits to write into it. */
#include "state.h"
#define SIZE (256 << 10)
static int ends[2];
static char content[SIZE], got[SIZE];
static void make(void)
{
    done(pipe2(ends, O_NONBLOCK));
    must(fcntl(ends[1], F_SETPIPE_SZ, SIZE) == SIZE);
    fill(content, SIZE, 7);
    must(write(ends[1], content, SIZE) == SIZE);
}
static void check(void)
{
    must(fcntl(ends[0], F_GETPIPE_SZ) == SIZE);
    must(write(ends[1], "x", 1) < 0 && errno == EAGAIN);
    for (long seen = 0, part; seen < SIZE; seen += part)
        part = done(read(ends[0], got + seen, SIZE - seen));
    must(memcmp(got, content, SIZE) == 0);
    must(write(ends[1], content, SIZE) == SIZE);
}
