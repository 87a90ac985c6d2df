/* /dev/zero mapped, privately and shared with a child. */
#include "state.h"
static char *private_zero, *shared_zero;
static void make(void)
{
    int fd = done(open("/dev/zero", O_RDWR));
    private_zero = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    shared_zero = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    fill(private_zero, 4096, 38);
    fill(shared_zero, 65536, 39);
}
static void check(void)
{
    must(is_filled(private_zero, 4096, 38) && private_zero[8192] == 0);
    must(is_filled(shared_zero, 65536, 39));
    pid_t pid = done(fork());
    if (pid == 0) {
        shared_zero[5] ^= 1;
        private_zero[5] ^= 1;
        _exit(0);
    }
    done(waitpid(pid, NULL, 0));
    must(is_filled(private_zero, 4096, 38) && !is_filled(shared_zero, 65536, 39));
    shared_zero[5] ^= 1;
}
