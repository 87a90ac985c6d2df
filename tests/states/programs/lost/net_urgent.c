/* A stream of urgent data that nobody has read. */
#include "loopback.h"
static int ends[2];
static void make(void)
{
    connection(ends);
    must(send(ends[0], "ab!", 3, MSG_OOB) == 3);
    usleep(20000);
}
static void check(void)
{
    char byte = 0;
    must(recv(ends[1], &byte, 1, MSG_OOB | MSG_PEEK) == 1 && byte == '!');
}
