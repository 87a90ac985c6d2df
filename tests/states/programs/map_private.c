/* Anonymous memory: written, zero, read-only, without access, with a hole. */
#include "state.h"
#define SIZE (4 << 20)
static char *written, *zero, *closed, *holed;
static void make(void)
{
    written = done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(written, SIZE, 20);
    zero = done(mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    closed = done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(closed, SIZE, 21);
    done(mprotect(closed, SIZE, PROT_NONE));
    holed = done(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(holed, SIZE, 22);
    done(munmap(holed + SIZE / 4, SIZE / 4));
    done(mprotect(written + 8192, 4096, PROT_READ));
}
static void check(void)
{
    must(is_filled(written, SIZE, 20));
    for (int i = 0; i < SIZE; i += 4096)
        must(zero[i] == 0);
    unsigned char seen;
    must(syscall(SYS_mincore, closed, 4096, &seen) == 0);
    done(mprotect(closed, SIZE, PROT_READ));
    must(is_filled(closed, SIZE, 21));
    done(mprotect(closed, SIZE, PROT_NONE));
    must(is_filled(holed, SIZE / 4, 22));
    must(syscall(SYS_mincore, holed + SIZE / 4, 4096, &seen) < 0 && errno == ENOMEM);
    must(read(open("/dev/zero", O_RDONLY), written + 8192, 1) < 0 && errno == EFAULT);
}
