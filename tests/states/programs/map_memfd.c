/* Memory files: open, mapped, sealed; one of them without a descriptor. */
#include "state.h"
static int fd, sealed;
static char *mapped;
static void make(void)
{
    fd = done(memfd_create("one", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    done(ftruncate(fd, 1 << 20));
    char *content = malloc(1 << 20);
    fill(content, 1 << 20, 27);
    must(pwrite(fd, content, 1 << 20, 0) == 1 << 20);
    sealed = done(memfd_create("sealed", MFD_ALLOW_SEALING));
    must(write(sealed, content, 5000) == 5000);
    done(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    int third = done(memfd_create("mapped", 0));
    done(ftruncate(third, 65536));
    mapped = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, third, 0));
    fill(mapped, 65536, 28);
    close(third);
    free(content);
}
static void check(void)
{
    char *content = malloc(1 << 20);
    must(pread(fd, content, 1 << 20, 0) == 1 << 20 && is_filled(content, 1 << 20, 27));
    must(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    must(fcntl(sealed, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    must(pread(sealed, content, 9000, 0) == 5000 && is_filled(content, 5000, 27));
    must(pwrite(sealed, "x", 1, 0) < 0 && errno == EPERM);
    must(is_filled(mapped, 65536, 28));
    free(content);
}
