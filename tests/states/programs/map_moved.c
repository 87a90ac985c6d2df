/* Memory that mremap has moved, grown and shrunk, and a file's pages out of order. */
#include "state.h"
static char *moved, *pages;
static void make(void)
{
    char *first = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(first, 65536, 29);
    char *place = done(mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    moved = done(mremap(first, 65536, 131072, MREMAP_MAYMOVE | MREMAP_FIXED, place));
    fill(moved + 65536, 65536, 30);
    done(mremap(moved, 131072, 98304, 0));
    int fd = new_file("pages", 4 * 4096, 31);
    pages = done(mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0));
    for (int i = 0; i < 4; i++)
        must(mmap(pages + i * 4096, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fd, (3 - i) * 4096) != MAP_FAILED);
}
static void check(void)
{
    must(is_filled(moved, 65536, 29) && is_filled(moved + 65536, 32768, 30));
    char content[4 * 4096];
    fill(content, sizeof content, 31);
    for (int i = 0; i < 4; i++)
        must(memcmp(pages + i * 4096, content + (3 - i) * 4096, 4096) == 0);
}
