/* A file mapped privately, some pages written; the file itself is not. */
#include "state.h"
static char *mapped;
static int fd;
static void make(void)
{
    fd = new_file("mapped", 40960, 24);
    mapped = done(mmap(NULL, 40960, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    fill(mapped + 8192, 4096, 25);
}
static void check(void)
{
    char content[40960];
    must(pread(fd, content, sizeof content, 0) == sizeof content && is_filled(content, sizeof content, 24));
    must(is_filled(mapped, 8192, 24) && is_filled(mapped + 8192, 4096, 25));
    must(memcmp(mapped + 12288, content + 12288, 40960 - 12288) == 0);
}
