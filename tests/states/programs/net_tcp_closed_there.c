/* The other end has closed: what it sent can be read, then comes the end. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    must(write(ends[0], "goodbye", 7) == 7);
    close(ends[0]);
}
static void check(void)
{
    must(waits(ends[1], "goodbye"));
    must(state_of(ends[1]) == TCP_CLOSE_WAIT);
}
