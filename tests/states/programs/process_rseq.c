/* Restartable sequences: glibc's area is known to the kernel, which goes on writing to it. */
#include <sys/rseq.h>
#include "state.h"
static volatile struct rseq *area(void)
{
    return (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
}
static void make(void)
{
}
static void check(void)
{
    if (__rseq_size == 0)
        return;
    area()->cpu_id_start = 4000; /* set right at the next preemption, if it is registered */
    for (int i = 0; i < 20000 && area()->cpu_id_start == 4000; i++)
        usleep(1000);
    unsigned now;
    done(syscall(SYS_getcpu, &now, NULL, NULL));
    must(area()->cpu_id_start < 4000);
    must(syscall(SYS_rseq, area(), 32, 0, RSEQ_SIG) < 0 && errno == EBUSY);
}
