/* Mapped files that are deleted: without a descriptor, written by two processes. */
#include "state.h"
static char *shared, *private;
static void make(void)
{
    int fd = new_file("gone", 8192, 6);
    shared = done(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    private = done(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    private[4097] = 42;
    done(unlink("gone"));
    close(fd);
    child(NULL);
}
static void check(void)
{
    must(is_filled(shared, 8192, 6) && is_filled(private, 4096, 6) && private[4097] == 42);
}
