/* flock(2), of an open file that two descriptors share, and one for reading. */
#include <sys/file.h>
#include "state.h"
static int exclusive, shared;
static void make(void)
{
    exclusive = new_file("exclusive", 10, 8);
    shared = new_file("shared", 10, 9);
    done(flock(exclusive, LOCK_EX));
    done(flock(shared, LOCK_SH));
}
static void check(void)
{
    int again = done(open("exclusive", O_RDWR)), beside = done(open("shared", O_RDWR));
    must(flock(again, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    must(flock(beside, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    must(flock(beside, LOCK_SH | LOCK_NB) == 0);
    close(again);
    close(beside);
}
