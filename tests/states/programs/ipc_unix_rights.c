/* A descriptor that is on its way through a unix socket. */
#include "state.h"
static int pair[2];
static void send_one(void)
{
    int fd = new_file("sent", 100, 51);
    done(lseek(fd, 42, SEEK_SET));
    char control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec part = {"d", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    must(sendmsg(pair[0], &message, 0) == 1);
    close(fd);
}
static void make(void)
{
    done(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    send_one();
}
static void check(void)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    must(recvmsg(pair[1], &message, MSG_DONTWAIT) == 1 && byte == 'd');
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    must(head && head->cmsg_type == SCM_RIGHTS);
    int fd;
    memcpy(&fd, CMSG_DATA(head), sizeof fd);
    must(lseek(fd, 0, SEEK_CUR) == 42);
    char content[100];
    must(pread(fd, content, 100, 0) == 100 && is_filled(content, 100, 51));
    close(fd);
    send_one();
}
