/* O_TMPFILE: a file that never had a name. */
#include "state.h"
static int fd;
static void make(void)
{
    fd = done(open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
    char content[9000];
    fill(content, sizeof content, 4);
    must(write(fd, content, sizeof content) == sizeof content);
}
static void check(void)
{
    char content[9000];
    must(pread(fd, content, sizeof content, 0) == sizeof content && is_filled(content, sizeof content, 4));
}
