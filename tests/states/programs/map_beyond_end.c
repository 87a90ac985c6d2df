/* A file's mapping that is longer than the file: beyond it is a fault. */
#include <setjmp.h>
#include "state.h"
static char *shared, *private;
static sigjmp_buf back;
static void faulted(int number)
{
    siglongjmp(back, number);
}
static void make(void)
{
    signal(SIGBUS, faulted);
    int fd = new_file("short", 100, 8);
    shared = done(mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    private = done(mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    private[5] = 99;
    close(fd);
}
static int reads(volatile char *place)
{
    if (sigsetjmp(back, 1))
        return 0;
    (void)*place;
    return 1;
}
static void check(void)
{
    must(is_filled(shared, 100, 8) && private[5] == 99);
    must(reads(shared) && !reads(shared + 4096) && !reads(private + 8192));
}
