/* System V shared memory: attached, and removed while it is attached. */
#include <sys/ipc.h>
#include <sys/shm.h>
#include "state.h"
static int id, removed;
static char *attached, *removed_place;
static void make(void)
{
    id = done(shmget(0x5151, 100000, IPC_CREAT | IPC_EXCL | 0640));
    attached = done(shmat(id, NULL, 0));
    fill(attached, 100000, 52);
    removed = done(shmget(IPC_PRIVATE, 4096, 0600));
    removed_place = done(shmat(removed, NULL, 0));
    fill(removed_place, 4096, 53);
}
static void check(void)
{
    must(is_filled(attached, 100000, 52) && is_filled(removed_place, 4096, 53));
    must(shmget(0x5151, 0, 0) == id);
    struct shmid_ds seen;
    done(shmctl(id, IPC_STAT, &seen));
    must(seen.shm_segsz == 100000 && seen.shm_nattch == 1 && (seen.shm_perm.mode & 0777) == 0640);
}
