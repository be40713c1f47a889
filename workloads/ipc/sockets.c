/*
 * Sockets: Unix stream, datagram, sequenced packets, an abstract name, a pair; TCP and UDP over the
 * loopback or a network; vsock from the machine to itself. Buffers are the kernel's own, which is what an
 * application gets that sets none. TCP has TCP_NODELAY: a small message is not held back.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { BACKLOG = 128, UNIX_OVERHEAD = 32, UDP_MOST = 65507, KNOCKS = 3 };

static const char *const ENDS[] = {"socket-serves", "socket-measures"};

union address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in internet;
    struct sockaddr_vm machine;
};

/* Address of the end `role`; `port` for families that have them, 0 to be given one. Over a network
   the serving end has the port after its meeting's, so that both can be published. */
static socklen_t address_of(const struct channel *channel, enum role role, uint32_t port,
                            union address *address)
{
    memset(address, 0, sizeof *address);
    if (channel->far) {
        place_far(channel->directory, &address->internet);
        address->internet.sin_port = htons((uint16_t)(ntohs(address->internet.sin_port) + 1));
        return sizeof address->internet;
    }
    address->any.sa_family = (sa_family_t)channel->mechanism->family;
    if (channel->mechanism->family == AF_INET) {
        address->internet.sin_port = htons((uint16_t)port);
        address->internet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof address->internet;
    }
    if (channel->mechanism->family == AF_VSOCK) {
        address->machine.svm_cid = role == SERVES && channel->role == SERVES ? VMADDR_CID_ANY
                                                                             : VMADDR_CID_LOCAL;
        address->machine.svm_port = port;
        return sizeof address->machine;
    }
    if (channel->mechanism->abstract) {
        char name[64]; /* begins with a slash, whose place the zero byte takes */
        if (!global_name(channel->directory, ENDS[role], name))
            return 0;
        memcpy(address->local.sun_path + 1, name + 1, strlen(name) - 1);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    }
    char path[NAME_BYTES];
    if (!path_in(channel->directory, ENDS[role], path))
        return 0;
    memcpy(address->local.sun_path, path, sizeof path);
    return sizeof address->local;
}

static void forget_paths(const char *directory)
{
    char path[NAME_BYTES];
    for (int i = 0; i < 2; i++)
        if (path_in(directory, ENDS[i], path))
            unlink(path);
}

static const char *allows(const struct channel *channel)
{
    if (channel->mechanism->family == AF_VSOCK)
        return "the kernel module vsock_loopback, and a seccomp profile that allows AF_VSOCK";
    if (channel->far)
        return "a way to the serving end, for its meeting's port and the next one";
    if (channel->mechanism->family == AF_INET)
        return "a network namespace with its loopback up, the same for both ends";
    return channel->mechanism->abstract ? "the same network namespace for both ends"
                                        : "a directory that both ends see and may write";
}

/* Without its loopback a machine's vsock leads to its hypervisor, whose silence is no answer. */
static bool has_loopback(const struct channel *channel)
{
    return channel->mechanism->family != AF_VSOCK ||
           access("/sys/module/vsock_loopback", F_OK) == 0 ||
           refused("access vsock_loopback", allows(channel));
}

static int plain_socket(const struct channel *channel)
{
    int fd = socket(channel->mechanism->family, channel->mechanism->type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        refused("socket", allows(channel));
    return fd;
}

static int new_socket(const struct channel *channel)
{
    return has_loopback(channel) ? plain_socket(channel) : -1;
}

static bool bound(struct channel *channel, int fd)
{
    union address address;
    socklen_t bytes = address_of(channel, channel->role,
                                 channel->mechanism->family == AF_VSOCK ? VMADDR_PORT_ANY : 0,
                                 &address);
    int on = 1;
    if (!bytes)
        return false;
    /* The port of an earlier run's connection may still be waiting. */
    if (channel->far && channel->mechanism->type == SOCK_STREAM &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return refused("setsockopt", NULL);
    if (bind(fd, &address.any, bytes) != 0)
        return refused("bind", allows(channel));
    if (channel->mechanism->family == AF_UNIX && !channel->mechanism->abstract &&
        chmod(address.local.sun_path, 0666) != 0)
        return refused("chmod", NULL);
    bytes = sizeof address;
    if (getsockname(fd, &address.any, &bytes) != 0)
        return refused("getsockname", NULL);
    if (channel->mechanism->family == AF_INET)
        channel->port = ntohs(address.internet.sin_port);
    else if (channel->mechanism->family == AF_VSOCK)
        channel->port = address.machine.svm_port;
    return true;
}

static bool joined_to(const struct channel *channel, int fd, const union address *address,
                      socklen_t bytes)
{
    while (connect(fd, &address->any, bytes) != 0)
        if (errno != EINTR)
            return refused("connect", allows(channel));
        else if (!go_on())
            return false;
    return true;
}

static bool joined(const struct channel *channel, int fd)
{
    union address address;
    enum role other = channel->role == SERVES ? MEASURES : SERVES;
    socklen_t bytes = address_of(channel, other, channel->peer_port, &address);
    return bytes && joined_to(channel, fd, &address, bytes);
}

/* Sets what both ends of a TCP connection have, and finds how long a message may be. */
static bool settled(struct channel *channel, int fd)
{
    int on = 1, buffer = 0;
    socklen_t bytes = sizeof buffer;
    channel->in = channel->out = fd;
    if (channel->mechanism->family == AF_INET && channel->mechanism->type == SOCK_STREAM &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return refused("setsockopt", NULL);
    if (channel->mechanism->type == SOCK_STREAM)
        return true;
    if (channel->mechanism->family == AF_INET) {
        channel->limit = UDP_MOST;
        channel->limit_is = "the most that a UDP datagram carries";
        return true;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, &bytes) != 0)
        return refused("getsockopt", NULL);
    channel->limit = (size_t)buffer - UNIX_OVERHEAD;
    channel->limit_is = "the socket's send buffer: net.core.wmem_default";
    return true;
}

static bool listens(struct channel *channel)
{
    channel->listener = new_socket(channel);
    return channel->listener >= 0 && bound(channel, channel->listener) &&
           (listen(channel->listener, BACKLOG) == 0 || refused("listen", NULL));
}

static int accepted(struct channel *channel)
{
    int fd;
    while ((fd = accept4(channel->listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        if (errno != EINTR) {
            refused("accept", NULL);
            return -1;
        } else if (!go_on()) {
            return -1;
        }
    return fd;
}

static bool accepts(struct channel *channel)
{
    int fd = accepted(channel);
    return fd >= 0 && settled(channel, fd);
}

static bool joins(struct channel *channel)
{
    int fd = new_socket(channel);
    channel->in = channel->out = fd;
    return fd >= 0 && joined(channel, fd) && settled(channel, fd);
}

static bool binds(struct channel *channel)
{
    int fd = new_socket(channel);
    channel->in = channel->out = fd;
    return fd >= 0 && bound(channel, fd) && settled(channel, fd);
}

/* Over a network the serving end answers to whoever knocks: an address may be translated on the
   way. A knock is empty, as no message is, so one that comes late is passed over. */
static bool joins_knocking(struct channel *channel)
{
    union address address;
    socklen_t bytes = sizeof address;
    ssize_t got;
    while ((got = recvfrom(channel->in, NULL, 0, MSG_TRUNC, &address.any, &bytes)) != 0) {
        if (got < 0 && errno != EINTR)
            return refused("recvfrom", allows(channel));
        if (!go_on())
            return false;
        bytes = sizeof address;
    }
    return joined_to(channel, channel->in, &address, bytes);
}

static bool knocks(struct channel *channel)
{
    for (int i = 0; i < KNOCKS; i++)
        if (send(channel->out, NULL, 0, MSG_NOSIGNAL) < 0 && errno != EINTR && errno != ECONNREFUSED)
            return refused("send", allows(channel));
    return true;
}

static bool joins_other(struct channel *channel)
{
    return channel->far ? joins_knocking(channel) : joined(channel, channel->in);
}

static bool binds_and_joins(struct channel *channel)
{
    return channel->far ? joins(channel) && knocks(channel)
                        : binds(channel) && joins_other(channel);
}

static bool makes_pair(struct channel *channel)
{
    int both[2];
    if (socketpair(AF_UNIX, channel->mechanism->type | SOCK_CLOEXEC, 0, both) != 0)
        return refused("socketpair", NULL);
    channel->passed[0] = both[1];
    channel->passed_count = 1;
    return settled(channel, both[0]);
}

static bool takes_pair(struct channel *channel)
{
    int fd = channel->passed[0];
    channel->passed[0] = -1;
    return settled(channel, fd);
}

static bool send_packet(struct channel *channel, uint8_t *data, size_t bytes)
{
    while (send(channel->out, data, bytes, MSG_NOSIGNAL) < 0) {
        /* UDP's full receive queue is silent; ECONNREFUSED is an older datagram's answer. */
        if (errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
            return refused("send", NULL);
        if (!go_on())
            return false;
    }
    return true;
}

static bool receive_packet(struct channel *channel, uint8_t *data, size_t bytes)
{
    ssize_t got;
    while ((got = recv(channel->in, data, bytes, MSG_TRUNC)) < 0) {
        if (errno != EINTR)
            return refused("recv", NULL);
        if (channel->mechanism->loses && ticked())
            return false; /* without a trouble: nothing came for a while */
        if (!go_on())
            return false;
    }
    if ((size_t)got != bytes && channel->mechanism->loses) /* a late one of the cell before */
        return receive_packet(channel, data, bytes);
    return (size_t)got == bytes ||
           went_wrong("a message of %zd bytes came where %zu were sent", got, bytes);
}

/* One connection made and given up; `ns` from before socket() until connect() returned. The serving
   end answers with a byte when it has accepted, so that connections do not pile up in its backlog.
   Closing with a reset leaves no TIME_WAIT behind, which would exhaust the ports. */
bool connect_once(struct channel *channel, uint64_t *ns)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    uint8_t byte;
    union address address;
    socklen_t bytes = address_of(channel, SERVES, channel->peer_port, &address);
    if (!bytes)
        return false;
    uint64_t began = now_ns();
    int fd = plain_socket(channel);
    bool well = fd >= 0 && joined_to(channel, fd, &address, bytes);
    *ns = now_ns() - began;
    well = well && read_whole(fd, &byte, 1);
    if (well && channel->mechanism->family == AF_INET)
        well = setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 ||
               refused("setsockopt", NULL);
    if (fd >= 0)
        close(fd);
    return well;
}

static bool is_next(const struct channel *channel, int fd)
{
    struct pollfd both[] = {{.fd = fd, .events = POLLIN}, {.fd = channel->listener, .events = POLLIN}};
    return poll(both, 2, -1) > 0 && !both[0].revents && both[1].revents;
}

bool accept_once(struct channel *channel)
{
    uint8_t byte = 0;
    int fd = accepted(channel);
    if (fd < 0)
        return false;
    bool well = write_whole(fd, &byte, 1);
    /* Until the other end has closed: a reset, or nothing more to read. A reset that a network lost
       is not sent again: the next connection then says that this one is over. */
    while (well && !(channel->far && is_next(channel, fd)) && read(fd, &byte, 1) < 0 &&
           errno == EINTR)
        well = go_on();
    close(fd);
    return well;
}

#define LISTENING .connects = true, .prepare = listens, .open = joins, .complete = accepts
#define BINDING .prepare = binds, .open = binds_and_joins, .complete = joins_other
#define PAIR .prepare = makes_pair, .open = takes_pair
#define STREAM .type = SOCK_STREAM, .send = send_bytes, .receive = receive_bytes
#define PACKETS .send = send_packet, .receive = receive_packet

const struct mechanism SOCKETS[] = {
    {.name = "unix-stream", .shares = "", .family = AF_UNIX, LISTENING, STREAM,
     .forget = forget_paths},
    {.name = "unix-seqpacket", .shares = "", .family = AF_UNIX, .type = SOCK_SEQPACKET, LISTENING,
     PACKETS, .forget = forget_paths},
    {.name = "unix-datagram", .shares = "", .family = AF_UNIX, .type = SOCK_DGRAM, BINDING, PACKETS,
     .forget = forget_paths},
    {.name = "unix-abstract", .shares = "network", .family = AF_UNIX, .abstract = true, LISTENING,
     STREAM},
    {.name = "socketpair", .shares = "", .family = AF_UNIX, PAIR, STREAM},
    {.name = "tcp", .shares = "network", .family = AF_INET, .travels = true, LISTENING, STREAM},
    {.name = "udp", .shares = "network", .family = AF_INET, .type = SOCK_DGRAM, .loses = true,
     .travels = true, BINDING, PACKETS},
    {.name = "vsock", .shares = "network", .family = AF_VSOCK, LISTENING, STREAM},
    {.name = NULL},
};
