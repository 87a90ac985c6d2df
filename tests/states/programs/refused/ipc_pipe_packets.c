/* A pipe in packet mode: each read ends at a border. */
#include "state.h"
static int ends[2];
static void send_all(void)
{
    must(write(ends[1], "one", 3) == 3);
    must(write(ends[1], "second", 6) == 6);
}
static void make(void)
{
    done(pipe2(ends, O_DIRECT));
    send_all();
}
static void check(void)
{
    char got[100];
    must(fcntl(ends[1], F_GETFL) & O_DIRECT);
    must(read(ends[0], got, 100) == 3 && memcmp(got, "one", 3) == 0);
    must(read(ends[0], got, 100) == 6 && memcmp(got, "second", 6) == 0);
    send_all();
}
