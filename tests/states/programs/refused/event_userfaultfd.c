/* userfaultfd: another thread fills this memory. */
#include <linux/userfaultfd.h>
#include "state.h"
static int fd;
static void make(void)
{
    fd = done(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    struct uffdio_api api = {.api = UFFD_API};
    done(ioctl(fd, UFFDIO_API, &api));
    void *place = done(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    struct uffdio_register region = {{(uintptr_t)place, 8192}, UFFDIO_REGISTER_MODE_MISSING};
    done(ioctl(fd, UFFDIO_REGISTER, &region));
}
static void check(void)
{
    must(fcntl(fd, F_GETFD) >= 0);
}
