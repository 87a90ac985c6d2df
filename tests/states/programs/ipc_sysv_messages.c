/* System V message queues, with messages of several types. */
#include <sys/ipc.h>
#include <sys/msg.h>
#include "state.h"
static int id;
struct message { long type; char text[20]; };
static void put(void)
{
    done(msgsnd(id, &(struct message){3, "third"}, 6, 0));
    done(msgsnd(id, &(struct message){1, "first"}, 6, 0));
}
static void make(void)
{
    id = done(msgget(0x5353, IPC_CREAT | IPC_EXCL | 0600));
    put();
}
static void check(void)
{
    struct message got;
    must(msgget(0x5353, 0) == id);
    struct msqid_ds seen;
    done(msgctl(id, IPC_STAT, &seen));
    must(seen.msg_qnum == 2);
    must(msgrcv(id, &got, 20, 1, IPC_NOWAIT) == 6 && strcmp(got.text, "first") == 0);
    must(msgrcv(id, &got, 20, 0, IPC_NOWAIT) == 6 && strcmp(got.text, "third") == 0 && got.type == 3);
    put();
}
