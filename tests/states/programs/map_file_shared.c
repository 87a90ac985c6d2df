/* A file mapped shared: what is written there is in the file. */
#include "state.h"
static char *mapped;
static int fd;
static void make(void)
{
    fd = new_file("mapped", 40960, 26);
    mapped = done(mmap(NULL, 40960, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    memset(mapped + 5000, 'w', 10);
}
static void check(void)
{
    char content[10];
    must(pread(fd, content, 10, 5000) == 10 && memcmp(content, "wwwwwwwwww", 10) == 0);
    must(is_filled(mapped, 5000, 26));
    mapped[5004] ^= 3;
    must(pread(fd, content, 10, 5000) == 10 && content[4] == mapped[5004]);
    mapped[5004] ^= 3;
}
