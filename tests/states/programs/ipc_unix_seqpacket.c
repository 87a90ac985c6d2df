/* SOCK_SEQPACKET: connected by a name, with messages that have borders. */
#include <sys/un.h>
#include "state.h"
static int listener, near, far;
static void send_all(void)
{
    must(send(near, "first", 5, 0) == 5 && send(near, "2", 1, 0) == 1);
}
static void make(void)
{
    struct sockaddr_un name = {AF_UNIX, "door"};
    listener = done(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    done(bind(listener, (void *)&name, sizeof name));
    done(listen(listener, 4));
    near = done(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    done(connect(near, (void *)&name, sizeof name));
    far = done(accept(listener, NULL, NULL));
    send_all();
}
static void check(void)
{
    char got[100];
    must(recv(far, got, 100, MSG_DONTWAIT) == 5 && memcmp(got, "first", 5) == 0);
    must(recv(far, got, 100, MSG_DONTWAIT) == 1 && got[0] == '2');
    must(send(far, "back", 4, 0) == 4 && recv(near, got, 100, MSG_DONTWAIT) == 4);
    send_all();
    struct sockaddr_un name = {AF_UNIX, "door"};
    int another = done(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    done(connect(another, (void *)&name, sizeof name));
    close(done(accept(listener, NULL, NULL)));
    close(another);
}
