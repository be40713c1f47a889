/*
 * The meeting: a Unix seqpacket socket, DIRECTORY/meeting, over which the ends agree on what comes
 * next and pass descriptors, or a TCP connection where a network is between them; and the patience
 * of every wait. A tick every 0.2 s interrupts whatever
 * call an end is in. It then looks whether the other is still there and whether the time is over,
 * so that a killed peer is noticed in every mechanism, those included that never say so.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAGIC = 0x534c4950, TICK_US = 200000, JOIN_S = 10 };
static const uint64_t GRACE_NS = 10000000000u; /* beyond a cell's own time */

static const char FAR[] = "tcp:";

union meeting_address {
    struct sockaddr any;
    struct sockaddr_un near;
    struct sockaddr_in far;
};

static int meeting = -1, meeting_type;
static volatile sig_atomic_t tick, told_to_end;
static uint64_t deadline_ns; /* 0: wait for ever */

static void on_tick(int number)
{
    (void)number;
    tick = 1;
    if (told_to_end)
        alarm(1);
}

/* Ticks later too: the call that is to be interrupted may only be about to begin. */
static void on_end(int number)
{
    (void)number;
    told_to_end = 1;
    alarm(1);
}

bool place_far(const char *place, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN], *end;
    const char *port = strrchr(place, ':');
    size_t scheme = strlen(FAR), bytes = port ? (size_t)(port - place) : 0;
    if (strncmp(place, FAR, scheme) != 0 || bytes <= scheme || bytes - scheme >= sizeof host)
        return false;
    memcpy(host, place + scheme, bytes - scheme);
    host[bytes - scheme] = 0;
    long number = strtol(port + 1, &end, 10);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)number);
    return end != port + 1 && !*end && number >= 1 && number < UINT16_MAX &&
           inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static socklen_t address_of(const char *place, union meeting_address *address)
{
    memset(address, 0, sizeof *address);
    if (place_far(place, &address->far))
        return sizeof address->far;
    if (!path_in(place, "meeting", address->near.sun_path))
        return 0;
    address->near.sun_family = AF_UNIX;
    return sizeof address->near;
}

static int meeting_socket(const union meeting_address *address)
{
    int on = 1, type = address->any.sa_family == AF_UNIX ? SOCK_SEQPACKET : SOCK_STREAM;
    int fd = socket(address->any.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        refused("socket", NULL);
    else if (address->any.sa_family == AF_INET &&
             (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
              setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0))
        refused("setsockopt", NULL);
    return fd;
}

bool meeting_listen(const char *place, int *fd)
{
    union meeting_address address;
    socklen_t bytes = address_of(place, &address);
    if (!bytes || (*fd = meeting_socket(&address)) < 0)
        return false;
    bool near = address.any.sa_family == AF_UNIX;
    if (near)
        unlink(address.near.sun_path);
    /* Another user's client must be able to come: the directory says who may. */
    if (bind(*fd, &address.any, bytes) != 0 ||
        (near && chmod(address.near.sun_path, 0666) != 0) || listen(*fd, 4) != 0)
        return refused("bind", near ? "a directory that this user may write"
                                    : "an address of this host, and a free port");
    return true;
}

void meeting_forget(const char *place)
{
    union meeting_address address;
    if (address_of(place, &address) && address.any.sa_family == AF_UNIX)
        unlink(address.near.sun_path);
}

/* What a connection that came and went leaves for accept() to say. */
static bool of_the_network(int number)
{
    static const int PASSING[] = {ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET,
                                  EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT};
    for (size_t i = 0; i < sizeof PASSING / sizeof PASSING[0]; i++)
        if (number == PASSING[i])
            return true;
    return false;
}

/* A network may swallow an end without a word, and the next one is to be served. */
static void notice_silence(int fd)
{
    int on = 1, seconds = 2, probes = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

bool meeting_accept(int listener, int *fd)
{
    *fd = -1;
    while (*fd < 0 && !told_to_end) {
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (*fd < 0 && errno != EINTR && !of_the_network(errno))
            return refused("accept", NULL);
    }
    if (*fd >= 0)
        notice_silence(*fd); /* does nothing to a Unix socket's */
    return *fd >= 0;
}

/* A handshake may take longer than a tick, which interrupts it and does not end it. */
static bool connected(int fd, const struct sockaddr *address, socklen_t bytes, uint64_t until)
{
    while (connect(fd, address, bytes) != 0)
        if (errno != EINTR) {
            return false;
        } else if (told_to_end || now_ns() > until) {
            errno = ETIMEDOUT;
            return false;
        }
    return true;
}

/* The serving end, or the way to it, may still be starting. A socket that was refused once is not
   used again: what its next connect() says is not the same everywhere. */
bool meeting_join(const char *place, int *fd)
{
    union meeting_address address;
    socklen_t bytes = address_of(place, &address);
    uint64_t until = now_ns() + JOIN_S * 1000000000ull;
    if (!bytes)
        return false;
    patience_begin(0);
    while ((*fd = meeting_socket(&address)) >= 0 && !connected(*fd, &address.any, bytes, until)) {
        bool passes = errno == ENOENT || errno == ECONNREFUSED || errno == EHOSTUNREACH ||
                      errno == ENETUNREACH;
        if (!passes || now_ns() > until || told_to_end) {
            refused("connect", "a serving end at this place: ipc serve PLACE");
            close(*fd);
            *fd = -1;
            break;
        }
        close(*fd);
        poll(NULL, 0, 20);
    }
    patience_end();
    return *fd >= 0;
}

/* Without SA_RESTART: calls are to return. */
void signals_begin(void)
{
    struct sigaction on[] = {{.sa_handler = on_tick}, {.sa_handler = on_end}, {.sa_handler = SIG_IGN}};
    sigaction(SIGALRM, &on[0], NULL);
    sigaction(SIGTERM, &on[1], NULL);
    sigaction(SIGINT, &on[1], NULL);
    sigaction(SIGPIPE, &on[2], NULL);
}

bool told_to_stop(void)
{
    return told_to_end;
}

void meeting_begin(int fd)
{
    socklen_t bytes = sizeof meeting_type;
    meeting = fd;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &meeting_type, &bytes);
}

void patience_begin(uint64_t time_ns)
{
    struct itimerval each = {{0, TICK_US}, {0, TICK_US}};
    deadline_ns = now_ns() + time_ns + GRACE_NS;
    setitimer(ITIMER_REAL, &each, NULL);
}

void patience_end(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    if (!told_to_end) /* else what is to be interrupted may be about to begin */
        setitimer(ITIMER_REAL, &never, NULL);
    deadline_ns = 0;
    tick = 0;
}

bool ticked(void)
{
    return tick;
}

bool meeting_waits(void)
{
    struct pollfd one = {.fd = meeting, .events = POLLIN};
    return poll(&one, 1, 0) > 0;
}

static bool told_trouble(struct letter *letter)
{
    static char call[sizeof letter->call], allow[sizeof letter->text];
    letter->call[sizeof letter->call - 1] = letter->text[sizeof letter->text - 1] = 0;
    if (!letter->number)
        return went_wrong("%s", letter->text);
    memcpy(call, letter->call, sizeof call);
    memcpy(allow, letter->text, sizeof allow);
    errno = (int)letter->number;
    return refused(call, allow[0] ? allow : NULL);
}

/* Why the other end left, where it said so before it did. */
static bool last_words(void)
{
    struct letter letter;
    if (recv(meeting, &letter, sizeof letter, MSG_DONTWAIT) == sizeof letter &&
        letter.magic == MAGIC && letter.word == NO)
        return told_trouble(&letter);
    return went_wrong("the other end is gone");
}

bool go_on(void)
{
    struct pollfd one = {.fd = meeting, .events = POLLRDHUP};
    if (told_to_end)
        return went_wrong("told to end");
    if (!tick)
        return true;
    tick = 0;
    if (poll(&one, 1, 0) > 0 && one.revents & (POLLHUP | POLLRDHUP | POLLERR))
        return last_words();
    if (deadline_ns && now_ns() > deadline_ns)
        return went_wrong("nothing moved until the time limit");
    return true;
}

bool meeting_send(struct letter *letter, const int *passed, int passed_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * MOST_PASSED)];
        struct cmsghdr aligned;
    } control = {{0}};
    struct iovec part = {letter, sizeof *letter};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    letter->magic = MAGIC;
    if (passed_count > 0) {
        size_t bytes = sizeof(int) * (size_t)passed_count;
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(head), passed, bytes);
    }
    ssize_t sent; /* whole: a letter is far smaller than what the kernel buffers */
    while ((sent = sendmsg(meeting, &message, MSG_NOSIGNAL)) < 0)
        if (errno != EINTR)
            return errno == EPIPE ? went_wrong("the other end is gone") : refused("sendmsg", NULL);
        else if (!go_on())
            return false;
    return sent == sizeof *letter || went_wrong("a letter was sent in part");
}

/* Tells the other end of this one's trouble. */
void meeting_refuse(void)
{
    struct letter letter = {.word = NO, .number = trouble.number};
    const char *text = trouble.number ? trouble.allow : trouble.text;
    snprintf(letter.call, sizeof letter.call, "%s", trouble.call ? trouble.call : "");
    snprintf(letter.text, sizeof letter.text, "%s", text ? text : "");
    meeting_send(&letter, NULL, 0);
}

/* What there is to read, at most so many bytes, and the descriptors that come with it. */
static ssize_t receive_some(void *data, size_t bytes, int *passed, int *passed_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * MOST_PASSED)];
        struct cmsghdr aligned;
    } control;
    struct iovec part = {data, bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got;
    while ((got = recvmsg(meeting, &message, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR) {
            if (errno == ECONNRESET)
                went_wrong("the other end is gone");
            else
                refused("recvmsg", NULL);
            return -1;
        } else if (!go_on()) {
            return -1;
        }
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        int count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + sizeof(int) * (size_t)i, sizeof fd);
            if (passed && *passed_count < MOST_PASSED)
                passed[(*passed_count)++] = fd;
            else
                close(fd);
        }
    }
    if (got == 0)
        went_wrong("the other end is gone");
    return got;
}

/* The letters of an older or newer program have another size or magic. A packet is a letter; of a
   stream's bytes, those of a letter are waited for. */
bool meeting_receive(struct letter *letter, enum word expected, int *passed, int *passed_count)
{
    size_t got = 0;
    do {
        ssize_t more = receive_some((char *)letter + got, sizeof *letter - got, passed, passed_count);
        if (more <= 0)
            return false;
        got += (size_t)more;
    } while (meeting_type == SOCK_STREAM && got < sizeof *letter);
    if (got != sizeof *letter || letter->magic != MAGIC)
        return went_wrong("the other end is another version of ipc");
    if (letter->word == NO)
        return told_trouble(letter);
    if (expected != ANY && letter->word != expected)
        return went_wrong("the other end said %u where %u was expected", letter->word, expected);
    return true;
}
