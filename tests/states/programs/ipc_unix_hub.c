/* Datagram sockets that are all connected to one, which is connected to none. */
#include <sys/un.h>
#include "state.h"
static int hub, spokes[5];
static void make(void)
{
    struct sockaddr_un name = {AF_UNIX, "hub"};
    hub = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    done(bind(hub, (void *)&name, sizeof name));
    for (int i = 0; i < 5; i++) {
        spokes[i] = done(socket(AF_UNIX, SOCK_DGRAM, 0));
        done(connect(spokes[i], (void *)&name, sizeof name));
        must(send(spokes[i], &"abcde"[i], 1, 0) == 1);
    }
}
static void check(void)
{
    char byte;
    for (int i = 0; i < 5; i++) {
        must(recv(hub, &byte, 1, MSG_DONTWAIT) == 1 && byte == "abcde"[i]);
        must(send(spokes[i], &"abcde"[i], 1, 0) == 1);
    }
}
