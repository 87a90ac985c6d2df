/* System V semaphores. */
#include <sys/ipc.h>
#include <sys/sem.h>
#include "state.h"
static int id;
static void make(void)
{
    id = done(semget(0x5252, 3, IPC_CREAT | IPC_EXCL | 0600));
    done(semctl(id, 0, SETALL, (unsigned short[]){7, 0, 300}));
}
static void check(void)
{
    must(semget(0x5252, 0, 0) == id);
    must(semctl(id, 0, GETVAL) == 7 && semctl(id, 1, GETVAL) == 0 && semctl(id, 2, GETVAL) == 300);
    done(semop(id, (struct sembuf[]){{0, -7, IPC_NOWAIT}}, 1));
    must(semop(id, (struct sembuf[]){{0, -1, IPC_NOWAIT}}, 1) < 0 && errno == EAGAIN);
    done(semop(id, (struct sembuf[]){{0, 7, 0}}, 1));
}
