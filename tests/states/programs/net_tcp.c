/* An established connection with data waiting at both ends. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    must(write(ends[0], "to the server", 13) == 13 && write(ends[1], "to the client", 13) == 13);
}
static void check(void)
{
    must(waits(ends[1], "to the server") && waits(ends[0], "to the client"));
    must(state_of(ends[0]) == TCP_ESTABLISHED && state_of(ends[1]) == TCP_ESTABLISHED);
}
