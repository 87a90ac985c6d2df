/* POSIX shared memory and a semaphore in it, taken by a child. */
#include <semaphore.h>
#include "state.h"
static struct shared { sem_t semaphore; char content[50000]; } *shared;
static void make(void)
{
    int fd = done(shm_open("/c-shared", O_RDWR | O_CREAT | O_EXCL, 0600));
    done(ftruncate(fd, sizeof *shared));
    shared = done(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    done(sem_init(&shared->semaphore, 1, 2));
    fill(shared->content, sizeof shared->content, 54);
}
static void check(void)
{
    must(is_filled(shared->content, sizeof shared->content, 54));
    int value;
    done(sem_getvalue(&shared->semaphore, &value));
    must(value == 2);
    pid_t pid = done(fork());
    if (pid == 0)
        _exit(sem_wait(&shared->semaphore) || sem_wait(&shared->semaphore) || sem_post(&shared->semaphore));
    int status;
    done(waitpid(pid, &status, 0));
    must(status == 0);
    done(sem_getvalue(&shared->semaphore, &value));
    must(value == 1 && sem_post(&shared->semaphore) == 0);
    must(access("/dev/shm/c-shared", F_OK) == 0);
}
