/* A context of kernel AIO, with a finished request in its ring. */
#include <linux/aio_abi.h>
#include "state.h"
static aio_context_t context;
static int fd;
static char content[512];
static void submit(void)
{
    struct iocb request = {.aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)content, .aio_nbytes = 512, .aio_data = 321};
    must(syscall(SYS_io_submit, context, 1, (struct iocb *[]){&request}) == 1);
}
static void make(void)
{
    fd = new_file("read", 512, 61);
    done(syscall(SYS_io_setup, 16, &context));
    submit();
}
static void check(void)
{
    struct io_event told;
    must(syscall(SYS_io_getevents, context, 1, 1, &told, NULL) == 1 && told.data == 321 && told.res == 512);
    must(is_filled(content, 512, 61));
    submit();
}
