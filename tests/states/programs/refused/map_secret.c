/* Memory that the kernel itself does not map (memfd_secret). */
#include "state.h"
static void make(void)
{
    int fd = done(syscall(447, 0));
    done(ftruncate(fd, 4096));
    char *place = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    *place = 1;
}
static void check(void)
{
}
