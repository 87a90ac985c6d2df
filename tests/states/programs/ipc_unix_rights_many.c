/* Descriptors on their way: several in a message, of several kinds, over a stream. */
#include "state.h"
static int pair[2];
static void send_all(void)
{
    int pipes[2], sockets[2], fds[4];
    done(pipe(pipes));
    must(write(pipes[1], "in pipe", 7) == 7);
    done(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
    must(send(sockets[0], "in socket", 9, 0) == 9);
    fds[0] = pipes[0], fds[1] = pipes[1], fds[2] = sockets[0], fds[3] = sockets[1];
    char control[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec part = {"data", 4};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    must(sendmsg(pair[0], &message, 0) == 4);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}
static void make(void)
{
    done(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    send_all();
}
static void check(void)
{
    int fds[4];
    char bytes[10], control[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec part = {bytes, 10};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    must(recvmsg(pair[1], &message, MSG_DONTWAIT) == 4 && memcmp(bytes, "data", 4) == 0);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    must(head && head->cmsg_len == CMSG_LEN(sizeof fds));
    memcpy(fds, CMSG_DATA(head), sizeof fds);
    must(read(fds[0], bytes, 10) == 7 && memcmp(bytes, "in pipe", 7) == 0);
    must(recv(fds[3], bytes, 10, MSG_DONTWAIT) == 9 && memcmp(bytes, "in socket", 9) == 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    send_all();
}
