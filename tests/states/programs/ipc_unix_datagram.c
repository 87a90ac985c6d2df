/* Datagrams of unix sockets: bound by a path and in the abstract name space, queued, with borders. */
#include <sys/un.h>
#include "state.h"
static int by_path, abstract_one, sender, pair[2];
static void make(void)
{
    struct sockaddr_un named = {AF_UNIX, "bound"}, hidden = {AF_UNIX, "\0c-programs"};
    socklen_t hidden_length = offsetof(struct sockaddr_un, sun_path) + 11;
    by_path = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    done(bind(by_path, (void *)&named, sizeof named));
    abstract_one = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    done(bind(abstract_one, (void *)&hidden, hidden_length));
    sender = done(socket(AF_UNIX, SOCK_DGRAM, 0));
    done(connect(sender, (void *)&named, sizeof named));
    must(send(sender, "one", 3, 0) == 3 && send(sender, "three", 5, 0) == 5);
    done(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    must(send(pair[0], "packet", 6, 0) == 6 && send(pair[0], "p", 1, 0) == 1);
}
static void check(void)
{
    char got[20];
    must(recv(by_path, got, 20, 0) == 3 && memcmp(got, "one", 3) == 0);
    must(recv(by_path, got, 20, 0) == 5 && memcmp(got, "three", 5) == 0);
    must(recv(by_path, got, 20, MSG_DONTWAIT) < 0);
    must(send(sender, "one", 3, 0) == 3 && send(sender, "three", 5, 0) == 5);
    struct sockaddr_un hidden = {AF_UNIX, "\0c-programs"};
    must(sendto(sender, "x", 1, 0, (void *)&hidden, offsetof(struct sockaddr_un, sun_path) + 11) == 1);
    must(recv(abstract_one, got, 20, 0) == 1);
    must(recv(pair[1], got, 20, 0) == 6 && recv(pair[1], got, 20, 0) == 1);
    must(send(pair[0], "packet", 6, 0) == 6 && send(pair[0], "p", 1, 0) == 1);
}
