/* Open, deleted and mapped files of the container's own tmpfs. */
#include "state.h"
static int open_file, deleted;
static char *mapped;
static void make(void)
{
    open_file = done(open("/dev/shm/c-open", O_RDWR | O_CREAT, 0600));
    char content[20000];
    fill(content, sizeof content, 13);
    must(write(open_file, content, sizeof content) == sizeof content);
    deleted = done(open("/dev/shm/c-deleted", O_RDWR | O_CREAT, 0600));
    must(write(deleted, content, sizeof content) == sizeof content);
    mapped = done(mmap(NULL, 20000, PROT_READ | PROT_WRITE, MAP_SHARED, deleted, 0));
    done(unlink("/dev/shm/c-deleted"));
}
static void check(void)
{
    char content[20000];
    must(pread(open_file, content, sizeof content, 0) == sizeof content && is_filled(content, sizeof content, 13));
    must(is_filled(mapped, 20000, 13));
    struct stat seen;
    done(fstat(deleted, &seen));
    must(seen.st_nlink == 0 && access("/dev/shm/c-open", F_OK) == 0);
}
