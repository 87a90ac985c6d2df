/* POSIX message queues: open, with messages of several priorities. */
#include <mqueue.h>
#include "state.h"
static mqd_t queue;
static void send_all(void)
{
    must(mq_send(queue, "low", 3, 1) == 0 && mq_send(queue, "high", 4, 9) == 0);
}
static void make(void)
{
    struct mq_attr how = {.mq_maxmsg = 5, .mq_msgsize = 50};
    queue = done(mq_open("/kinds", O_RDWR | O_CREAT, 0600, &how));
    send_all();
}
static void check(void)
{
    char got[50];
    unsigned priority;
    must(mq_receive(queue, got, 50, &priority) == 4 && priority == 9);
    must(mq_receive(queue, got, 50, &priority) == 3 && priority == 1);
    send_all();
}
