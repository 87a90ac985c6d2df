/* The other end has closed: what it sent can be read. Who closed has left nothing but the kernel's
   memory of a connection, which no dump holds; so nothing is said of what comes afterwards. */
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
}
