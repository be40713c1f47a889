/*
 * stream: how many messages a second a stream socket carries, Unix or TCP.
 *
 *   gcc -std=c11 -O2 -Wall -Wextra -Werror -o stream stream.c
 *
 *   stream serve ADDRESS [--mode 0660]
 *   stream send ADDRESS --flows N --message-bytes B --time S --direction to|from|both
 *   stream ping ADDRESS
 *
 * A flow is one connection. A sender makes one send() a message; a receiver takes what is there.
 * Every message carries its sequence number and its flow's; one that is wrong is an error, and the
 * run has no figure. Bytes beyond a message's first 16 are not looked at.
 *
 * Figures are the RECEIVER's: whole messages, over the time from its first byte to its last, on its
 * own monotonic clock. A sender is done when the last bytes lie in some buffer, its kernel's or a
 * proxy's, so its clock would count as carried what had not arrived. The two ends' clocks are never
 * compared. With several flows the time runs from the earliest first byte to the latest last one;
 * in both directions at once it is the longer of the two, and counts are sums.
 *
 * TCP_NODELAY is set at both ends: a small message is not held back for the next. Socket buffers
 * are the kernel's own: their sizes are part of what is measured.
 *
 * On the wire, numbers big-endian:
 *   hello    client  magic[8], protocol u32, direction u32, message bytes u32, flow u32, time us u64
 *   welcome  server  magic[8], protocol u32, status u32 (0: go on), server's number u64
 *   go       client  magic[8], when every flow has its welcome (not after a ping)
 *   message  either  sequence u64, flow u32, kind u32 (0 payload, 1 end), filling
 *   report   server  magic[8], status u32, 0 u32, messages received u64, first ns u64, last ns u64
 * The end is a message that counts for nothing and carries the number of those before it.
 *
 * Exit code: 0 every flow ended properly; 1 it did not; 2 usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define VERSION "1.0.0"
#define MAGIC "SLSTREAM"

enum {
    DONE = 0,
    FAILED = 1,
    USAGE = 2,
    PROTOCOL = 1,
    MAGIC_BYTES = 8,
    HELLO_BYTES = 32,
    WELCOME_BYTES = 24,
    REPORT_BYTES = 40,
    HEAD_BYTES = 16,
    READ_BYTES = 256 * 1024,
    MOST_MESSAGE_BYTES = 16 * 1024 * 1024,
    MOST_FLOWS = 4096,
    MOST_SECONDS = 86400,
    STALL_S = 10,  /* without a byte for so long, a flow has failed */
    PING_S = 5,
    GO_S = 30,     /* the slowest flow may use up STALL_S twice before all go */
    QUIET_MS = 200,
    PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) - 1, /* 107 */
};

enum direction { PING = 0, TO = 1, FROM = 2, BOTH = 3 };
enum kind { PAYLOAD = 0, END = 1 };
enum outcome { WELL = 0, READ_FAILED = 1, WRITE_FAILED = 2, CORRUPT = 3, CONNECT_FAILED = 4 };
enum welcome { WELCOME = 0, OTHER_PROTOCOL = 1, BAD_SETTINGS = 2 };

static const char *const DIRECTIONS[] = {"ping", "to", "from", "both"};

struct address {
    const char *text;
    struct sockaddr_un local;
    socklen_t local_bytes; /* 0: TCP */
    char host[256];
    char port[24]; /* as long as any long, which is what the compiler looks at */
};

struct settings {
    enum direction direction;
    uint32_t message_bytes;
    uint64_t time_us;
};

/* What one receiver has of one flow. Times are its monotonic clock's; 0 before the first byte.
   What a server received that never reported is unknown, which is not nothing. */
struct received {
    uint64_t messages, first_ns, last_ns;
    bool unknown;
};

/* One end of one flow. `rest` holds what a receiver read beyond the end: the peer's report. */
struct end {
    int fd;
    uint32_t flow;
    struct settings settings;
    struct received in;
    enum outcome in_outcome, out_outcome;
    char in_error[128], out_error[128];
    uint8_t rest[REPORT_BYTES];
    size_t rest_bytes;
};

/* ---- small things ---- */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    /* One write, so that the lines of several threads stay whole. */
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "stream: %s\n", line);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)(value >> 32));
    put32(at + 4, (uint32_t)value);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t get64(const uint8_t *at)
{
    return (uint64_t)get32(at) << 32 | get32(at + 4);
}

/* The text of an errno; a timeout of the socket shows as EAGAIN. */
static const char *why(int number, char text[64])
{
    if (number == EAGAIN || number == EWOULDBLOCK)
        return "nothing moved until the time limit";
    return strerror_r(number, text, 64);
}

static enum outcome fail(char error[128], enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum outcome fail(char error[128], enum outcome outcome, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, 128, format, arguments);
    va_end(arguments);
    return outcome;
}

static bool send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        data += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

/* False with errno 0 where the peer closed first. */
static bool receive_all(int fd, uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = recv(fd, data, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? 0 : errno;
            return false;
        }
        data += got;
        bytes -= (size_t)got;
    }
    return true;
}

static void limit_waits(int fd, int seconds)
{
    struct timeval limit = {.tv_sec = seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static void send_at_once(int fd, bool tcp)
{
    int on = 1;
    if (tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- addresses ---- */

static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void refuse(const char *format, ...)
{
    va_list arguments;
    fputs("stream: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\n", stderr);
    exit(USAGE);
}

static void read_local(const char *path, struct address *address)
{
    size_t bytes = strlen(path);
    bool abstract = path[0] == '@';
    if ((!abstract && path[0] != '/') || bytes < 2)
        refuse("%s: expected unix:/absolute/path or unix:@name", address->text);
    if (bytes - abstract > PATH_BYTES)
        refuse("%s: %zu bytes after 'unix:%s'; a socket's name has at most %d", address->text,
               bytes - abstract, abstract ? "@" : "", PATH_BYTES);
    address->local.sun_family = AF_UNIX;
    if (abstract) /* its name begins with a zero byte and ends where the length says */
        memcpy(address->local.sun_path + 1, path + 1, bytes - 1);
    else
        memcpy(address->local.sun_path, path, bytes);
    address->local_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (abstract ? 0 : 1));
}

static void read_tcp(const char *text, long least_port, struct address *address)
{
    static const char *const expected = "expected tcp:host:port or tcp:[v6]:port";
    const char *host = text, *colon = strrchr(text, ':');
    if (!colon)
        refuse("%s: %s", address->text, expected);
    size_t bytes = (size_t)(colon - text);
    if (text[0] == '[') {
        if (bytes < 3 || colon[-1] != ']')
            refuse("%s: %s", address->text, expected);
        host++;
        bytes -= 2;
    } else if (memchr(text, ':', bytes)) {
        refuse("%s: write an IPv6 address in brackets, tcp:[v6]:port", address->text);
    }
    char *end;
    errno = 0;
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || errno || port < least_port || port > 65535)
        refuse("%s: expected a port from %ld to 65535, not '%s'", address->text, least_port,
               colon + 1);
    if (bytes == 0 || bytes >= sizeof address->host)
        refuse("%s: %s", address->text, expected);
    memcpy(address->host, host, bytes);
    snprintf(address->port, sizeof address->port, "%ld", port);
}

static struct address read_address(const char *text, long least_port)
{
    struct address address = {.text = text};
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\')
            refuse("address: printable ASCII without blanks, quotes and backslashes is expected");
    if (strncmp(text, "unix:", 5) == 0)
        read_local(text + 5, &address);
    else if (strncmp(text, "tcp:", 4) == 0)
        read_tcp(text + 4, least_port, &address);
    else
        refuse("%s: expected unix:/path, unix:@name, tcp:host:port or tcp:[v6]:port", text);
    return address;
}

/* Tries `use` (connect or bind) on every address that the name has; -1 with `error` set. */
static int open_socket(const struct address *address, bool listening, int seconds, char error[128],
                       int (*use)(int, const struct sockaddr *, socklen_t))
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0};
    struct addrinfo local = {.ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&address->local,
                             .ai_addrlen = address->local_bytes};
    struct addrinfo *found = &local;
    char text[64];
    int fd = -1;
    if (!address->local_bytes) {
        int failed = getaddrinfo(address->host, address->port, &hints, &found);
        if (failed) {
            fail(error, CONNECT_FAILED, "%.60s", gai_strerror(failed));
            return -1;
        }
    }
    for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next) {
        int on = 1;
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            fail(error, CONNECT_FAILED, "socket: %s", why(errno, text));
            continue;
        }
        limit_waits(fd, seconds);
        send_at_once(fd, one->ai_family != AF_UNIX);
        if (listening && one->ai_family != AF_UNIX)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (use(fd, one->ai_addr, one->ai_addrlen) != 0) {
            int number = errno;
            fail(error, CONNECT_FAILED, "%s: %s", listening ? "bind" : "connect", why(number, text));
            close(fd);
            fd = -1;
            errno = number;
        }
    }
    if (found != &local) {
        int number = errno;
        freeaddrinfo(found);
        errno = number;
    }
    return fd;
}

/* ---- messages, the same at both ends ---- */

/* One send() a message until the time is over, at least one; then the end. */
static enum outcome send_messages(struct end *end)
{
    size_t bytes = end->settings.message_bytes;
    uint8_t *message = malloc(bytes);
    char text[64];
    uint64_t sequence = 0;
    if (!message)
        return fail(end->out_error, WRITE_FAILED, "no memory for a message of %zu bytes", bytes);
    memset(message, 0x5a, bytes);
    put32(message + 8, end->flow);
    put32(message + 12, PAYLOAD);
    uint64_t stop_ns = now_ns() + end->settings.time_us * 1000;
    bool sent = true;
    do {
        put64(message, sequence);
        sent = send_all(end->fd, message, bytes);
        sequence += sent;
    } while (sent && now_ns() < stop_ns);
    if (sent) {
        put64(message, sequence);
        put32(message + 12, END);
        sent = send_all(end->fd, message, bytes);
    }
    int number = errno;
    free(message);
    if (!sent)
        return fail(end->out_error, WRITE_FAILED, "after %" PRIu64 " messages sent: %s", sequence,
                    why(number, text));
    return WELL;
}

/* Reads on after a message that was wrong, so that the peer's sending ends and the report, which
   a reset would take with it, arrives. Where messages begin is not known any more. */
static void drain(const struct end *end, uint8_t *buffer)
{
    uint64_t stop_ns = now_ns() + end->settings.time_us * 1000 + STALL_S * UINT64_C(1000000000);
    struct pollfd readable = {.fd = end->fd, .events = POLLIN};
    while (now_ns() < stop_ns && poll(&readable, 1, QUIET_MS) > 0)
        if (recv(end->fd, buffer, READ_BYTES, 0) <= 0)
            return;
}

/* Where a receiver is: `at` bytes into a message whose head is being collected, then skipped. */
struct place {
    uint8_t head[HEAD_BYTES];
    size_t at;
};

/* Takes `bytes` bytes that arrived at `when_ns`. WELL goes on, unless *ended. */
static enum outcome take(struct end *end, struct place *place, const uint8_t *data, size_t bytes,
                         uint64_t when_ns, bool *ended)
{
    while (bytes > 0) {
        size_t upto = place->at < HEAD_BYTES ? HEAD_BYTES : end->settings.message_bytes;
        size_t step = upto - place->at < bytes ? upto - place->at : bytes;
        if (place->at < HEAD_BYTES)
            memcpy(place->head + place->at, data, step);
        place->at += step;
        data += step;
        bytes -= step;
        if (place->at == HEAD_BYTES && upto == HEAD_BYTES) {
            uint64_t sequence = get64(place->head);
            uint32_t flow = get32(place->head + 8), kind = get32(place->head + 12);
            if (sequence != end->in.messages || flow != end->flow || kind > END)
                return fail(end->in_error, CORRUPT,
                            "message %" PRIu64 " of flow %" PRIu32 " is marked %" PRIu64
                            " of flow %" PRIu32, end->in.messages, end->flow, sequence, flow);
        }
        if (place->at < end->settings.message_bytes)
            continue;
        place->at = 0;
        if (get32(place->head + 12) == PAYLOAD) {
            end->in.messages++;
            end->in.last_ns = when_ns;
            continue;
        }
        if (bytes > sizeof end->rest)
            return fail(end->in_error, CORRUPT, "%zu bytes after the end", bytes);
        memcpy(end->rest, data, bytes);
        end->rest_bytes = bytes;
        *ended = true;
        return WELL;
    }
    return WELL;
}

static enum outcome receive_messages(struct end *end)
{
    struct place place = {.at = 0};
    uint8_t *buffer = malloc(READ_BYTES);
    char text[64];
    bool ended = false;
    enum outcome outcome = WELL;
    if (!buffer)
        return fail(end->in_error, READ_FAILED, "no memory to read into");
    while (!ended && outcome == WELL) {
        ssize_t got = recv(end->fd, buffer, READ_BYTES, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            outcome = fail(end->in_error, READ_FAILED, "after %" PRIu64 " messages received: %s",
                           end->in.messages, got ? why(errno, text) : "the peer closed early");
            break;
        }
        uint64_t when_ns = now_ns();
        if (!end->in.first_ns)
            end->in.first_ns = when_ns;
        outcome = take(end, &place, buffer, (size_t)got, when_ns, &ended);
    }
    if (outcome == CORRUPT)
        drain(end, buffer);
    free(buffer);
    return outcome;
}

static void *send_in_thread(void *argument)
{
    struct end *end = argument;
    end->out_outcome = send_messages(end);
    return NULL;
}

/* Sends, receives or both, as `sends` and `receives` say; both outcomes are in `end` afterwards. */
static void exchange(struct end *end, bool sends, bool receives)
{
    pthread_t sender;
    if (sends && receives) {
        int failed = pthread_create(&sender, NULL, send_in_thread, end);
        if (failed) {
            end->out_outcome = fail(end->out_error, WRITE_FAILED, "no thread to send from");
            return;
        }
        end->in_outcome = receive_messages(end);
        if (end->in_outcome == READ_FAILED)
            shutdown(end->fd, SHUT_RDWR); /* or the sender would wait for a peer that is gone */
        pthread_join(sender, NULL);
    } else if (sends) {
        end->out_outcome = send_messages(end);
    } else {
        end->in_outcome = receive_messages(end);
    }
}

/* ---- server ---- */

struct connection {
    int fd;
    uint64_t server;
};

static bool greet(const struct connection *connection, struct end *end)
{
    uint8_t hello[HELLO_BYTES], welcome[WELCOME_BYTES] = MAGIC, go[MAGIC_BYTES];
    uint32_t status = WELCOME;
    if (!receive_all(end->fd, hello, sizeof hello) || memcmp(hello, MAGIC, MAGIC_BYTES) != 0)
        return false; /* a port scan, a health check: nobody to answer */
    uint32_t direction = get32(hello + 12);
    end->settings.message_bytes = get32(hello + 16);
    end->flow = get32(hello + 20);
    end->settings.time_us = get64(hello + 24);
    if (get32(hello + 8) != PROTOCOL)
        status = OTHER_PROTOCOL;
    else if (direction > BOTH || end->settings.message_bytes < HEAD_BYTES ||
             end->settings.message_bytes > MOST_MESSAGE_BYTES ||
             end->settings.time_us > MOST_SECONDS * UINT64_C(1000000))
        status = BAD_SETTINGS;
    end->settings.direction = status == WELCOME ? (enum direction)direction : PING;
    put32(welcome + 8, PROTOCOL);
    put32(welcome + 12, status);
    put64(welcome + 16, connection->server);
    if (!send_all(end->fd, welcome, sizeof welcome) || end->settings.direction == PING)
        return false;
    limit_waits(end->fd, GO_S);
    bool gone = !receive_all(end->fd, go, sizeof go) || memcmp(go, MAGIC, MAGIC_BYTES) != 0;
    limit_waits(end->fd, STALL_S);
    return !gone;
}

static void *serve_connection(void *argument)
{
    struct connection *connection = argument;
    struct end end = {.fd = connection->fd};
    if (greet(connection, &end)) {
        uint8_t report[REPORT_BYTES] = MAGIC;
        bool receives = end.settings.direction & TO, sends = end.settings.direction & FROM;
        exchange(&end, sends, receives);
        if (end.rest_bytes)
            end.in_outcome = fail(end.in_error, CORRUPT, "bytes after the end");
        put32(report + 8, end.in_outcome != WELL ? end.in_outcome : end.out_outcome);
        put64(report + 16, end.in.messages);
        put64(report + 24, end.in.first_ns);
        put64(report + 32, end.in.last_ns);
        send_all(end.fd, report, sizeof report);
        if (end.in_outcome != WELL)
            say("flow %" PRIu32 ": %s", end.flow, end.in_error);
        if (end.out_outcome != WELL)
            say("flow %" PRIu32 ": %s", end.flow, end.out_error);
    }
    close(connection->fd);
    free(connection);
    return NULL;
}

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static void serve_one(int listener, bool tcp, uint64_t server)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        /* Out of files or memory: the connection stays in the queue, and asking again at once
           would keep a core busy. The others are the peer's business. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            say("accept: %s", strerror(errno));
            nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
        }
        return;
    }
    struct connection *connection = malloc(sizeof *connection);
    pthread_attr_t detached;
    pthread_t thread;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    limit_waits(fd, STALL_S);
    send_at_once(fd, tcp);
    if (connection)
        *connection = (struct connection){.fd = fd, .server = server};
    if (!connection || pthread_create(&thread, &detached, serve_connection, connection) != 0) {
        say("no thread for a connection");
        free(connection);
        close(fd);
    }
    pthread_attr_destroy(&detached);
}

/* Removes a socket file at which nobody answers; anything else is left and refused. */
static void remove_stale(const struct address *address)
{
    const char *path = address->local.sun_path;
    struct stat status;
    char error[128] = "";
    if (lstat(path, &status) != 0)
        return;
    if (!S_ISSOCK(status.st_mode)) {
        say("%s exists and is no socket; move it away", path);
        exit(FAILED);
    }
    int fd = open_socket(address, false, PING_S, error, connect);
    if (fd >= 0 || errno != ECONNREFUSED) {
        say("%s is in use%s%s; end that server, or choose another path", path,
            fd < 0 ? ": " : "", error);
        exit(FAILED);
    }
    unlink(path);
}

static int listen_at(const struct address *address, long mode)
{
    char error[128] = "", text[64];
    const char *path = address->local.sun_path;
    bool file = address->local_bytes && path[0] == '/';
    if (file)
        remove_stale(address);
    int fd = open_socket(address, true, STALL_S, error, bind);
    if (fd < 0) {
        say("%s: %s", address->text, error);
        exit(FAILED);
    }
    /* Before listen(), so that nobody connects under another mode. */
    if ((file && mode >= 0 && chmod(path, (mode_t)mode) != 0) || listen(fd, SOMAXCONN) != 0) {
        say("%s: %s", address->text, why(errno, text));
        if (file)
            unlink(path);
        exit(FAILED);
    }
    return fd;
}

static void say_listening(const struct address *address, int fd)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (strcmp(address->port, "0") == 0 && getsockname(fd, (struct sockaddr *)&bound, &bytes) == 0 &&
        getnameinfo((struct sockaddr *)&bound, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        fprintf(stderr, "listening on tcp:%s%s%s:%s\n", bound.ss_family == AF_INET6 ? "[" : "", host,
                bound.ss_family == AF_INET6 ? "]" : "", port);
    else
        fprintf(stderr, "listening on %s\n", address->text);
}

static int serve(const struct address *address, long mode)
{
    struct stat made = {0}, present;
    const char *path = address->local.sun_path;
    bool file = address->local_bytes && path[0] == '/';
    struct sigaction action = {.sa_handler = stop};
    sigset_t ending, before;
    uint64_t server = 0;
    /* Blocked except while waiting, and in every thread: none is missed between two waits. */
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigdelset(&before, SIGTERM);
    sigdelset(&before, SIGINT);
    if (getrandom(&server, sizeof server, 0) != sizeof server)
        server = now_ns() ^ (uint64_t)getpid();
    int listener = listen_at(address, mode);
    fcntl(listener, F_SETFL, O_NONBLOCK); /* who has gone again must not make accept() wait */
    if (file)
        stat(path, &made);
    say_listening(address, listener);
    while (!stopped) {
        struct pollfd readable = {.fd = listener, .events = POLLIN};
        if (ppoll(&readable, 1, NULL, &before) > 0)
            serve_one(listener, !address->local_bytes, server);
    }
    /* The file may be another server's by now. */
    if (file && lstat(path, &present) == 0 && present.st_ino == made.st_ino &&
        present.st_dev == made.st_dev)
        unlink(path);
    return DONE;
}

/* ---- client ---- */

struct plan {
    const struct address *address;
    struct settings settings;
    uint32_t flows;
    pthread_barrier_t ready;
    struct flow *flow;
};

/* `there` is what the server received; `end.in` what was received here. */
struct flow {
    struct plan *plan;
    struct end end;
    uint64_t server;
    struct received there;
    enum outcome outcome;
    char error[128];
};

/* Connects and shakes hands: a proxy accepts connections whose other side leads nowhere. */
static enum outcome connect_flow(const struct address *address, const struct settings *settings,
                                 int seconds, uint32_t flow, struct end *end, uint64_t *server,
                                 char error[128])
{
    uint8_t hello[HELLO_BYTES] = MAGIC, welcome[WELCOME_BYTES];
    char text[64];
    *end = (struct end){.fd = -1, .flow = flow, .settings = *settings};
    end->fd = open_socket(address, false, seconds, error, connect);
    if (end->fd < 0)
        return CONNECT_FAILED;
    put32(hello + 8, PROTOCOL);
    put32(hello + 12, settings->direction);
    put32(hello + 16, settings->message_bytes);
    put32(hello + 20, flow);
    put64(hello + 24, settings->time_us);
    if (!send_all(end->fd, hello, sizeof hello) ||
        !receive_all(end->fd, welcome, sizeof welcome))
        return fail(error, CONNECT_FAILED, "connected, but no welcome: %s",
                    errno ? why(errno, text) : "the peer closed");
    if (memcmp(welcome, MAGIC, MAGIC_BYTES) != 0)
        return fail(error, CONNECT_FAILED, "what answers is no stream server");
    *server = get64(welcome + 16);
    switch (get32(welcome + 12)) {
    case WELCOME:
        return WELL;
    case OTHER_PROTOCOL:
        return fail(error, CONNECT_FAILED, "the server speaks protocol %" PRIu32 ", this is %d",
                    get32(welcome + 8), PROTOCOL);
    default:
        return fail(error, CONNECT_FAILED, "the server refuses these settings");
    }
}

/* Reads the server's report; what was read behind the server's end belongs to it. */
static enum outcome read_report(struct flow *flow)
{
    struct end *end = &flow->end;
    uint8_t report[REPORT_BYTES];
    char text[64];
    memcpy(report, end->rest, end->rest_bytes);
    if (!receive_all(end->fd, report + end->rest_bytes, sizeof report - end->rest_bytes))
        return fail(flow->error, READ_FAILED, "no report: %s",
                    errno ? why(errno, text) : "the peer closed early");
    if (memcmp(report, MAGIC, MAGIC_BYTES) != 0)
        return fail(flow->error, CORRUPT, "what follows the end is no report");
    flow->there = (struct received){get64(report + 16), get64(report + 24), get64(report + 32), false};
    switch (get32(report + 8)) {
    case WELL:
        return WELL;
    case CORRUPT:
        return fail(flow->error, CORRUPT, "the server received a wrong message after %" PRIu64,
                    flow->there.messages);
    case WRITE_FAILED:
        return fail(flow->error, WRITE_FAILED, "the server could not send");
    default:
        return fail(flow->error, READ_FAILED, "the server could not receive");
    }
}

/* All flows have the same server's clock, or none runs: their times are put together. */
static bool one_server(struct flow *flow)
{
    bool same = true;
    for (uint32_t other = 0; other < flow->plan->flows; other++) {
        same = same && flow->plan->flow[other].outcome == WELL &&
               flow->plan->flow[other].server == flow->plan->flow[0].server;
    }
    return same;
}

static void *run_flow(void *argument)
{
    struct flow *flow = argument;
    struct plan *plan = flow->plan;
    struct end *end = &flow->end;
    bool sends = plan->settings.direction & TO, receives = plan->settings.direction & FROM;
    uint32_t number = (uint32_t)(flow - plan->flow);
    char text[64];
    flow->outcome = connect_flow(plan->address, &plan->settings, STALL_S, number, end,
                                 &flow->server, flow->error);
    pthread_barrier_wait(&plan->ready);
    bool all_ready = one_server(flow);
    /* Nobody writes an outcome before everybody has read them all. */
    pthread_barrier_wait(&plan->ready);
    if (!all_ready) {
        if (flow->outcome == WELL && flow->server != plan->flow[0].server &&
            plan->flow[0].server != 0)
            flow->outcome = fail(flow->error, CONNECT_FAILED,
                                 "reached another server than flow 0: times do not compare");
        return NULL;
    }
    if (!send_all(end->fd, (const uint8_t *)MAGIC, MAGIC_BYTES)) {
        flow->outcome = fail(flow->error, WRITE_FAILED, "go: %s", why(errno, text));
        return NULL;
    }
    flow->there.unknown = sends;
    exchange(end, sends, receives);
    if (end->in_outcome != WELL) {
        flow->outcome = fail(flow->error, end->in_outcome, "%s", end->in_error);
        return NULL;
    }
    flow->outcome = read_report(flow);
    /* Why the server stopped says more than that sending to it failed. */
    if (end->out_outcome != WELL && flow->outcome != CORRUPT)
        flow->outcome = fail(flow->error, end->out_outcome, "%s", end->out_error);
    return NULL;
}

static void print_counts(const struct received *received, uint32_t message_bytes)
{
    if (received->unknown)
        printf("\"messages\": null, \"bytes\": null");
    else
        printf("\"messages\": %" PRIu64 ", \"bytes\": %" PRIu64, received->messages,
               received->messages * message_bytes);
}

static void print_received(const struct received *received, uint32_t message_bytes)
{
    uint64_t span = received->last_ns - received->first_ns;
    print_counts(received, message_bytes);
    printf(", \"seconds\": ");
    if (!received->unknown && received->messages && span)
        printf("%.9f", (double)span / 1e9);
    else
        printf("null"); /* all of it came in one read, or nothing did */
}

static void print_flows(const struct plan *plan)
{
    printf(" \"per_flow\": [");
    const char *between = "";
    for (uint32_t number = 0; number < plan->flows; number++) {
        const struct flow *flow = &plan->flow[number];
        for (int direction = TO; direction <= FROM; direction++) {
            if (!(plan->settings.direction & direction))
                continue;
            printf("%s\n  {\"flow\": %" PRIu32 ", \"direction\": \"%s\", ", between, number,
                   DIRECTIONS[direction]);
            print_received(direction == TO ? &flow->there : &flow->end.in,
                           plan->settings.message_bytes);
            printf(", \"error\": %s%s%s}", flow->outcome ? "\"" : "",
                   flow->outcome ? flow->error : "null", flow->outcome ? "\"" : "");
            between = ",";
        }
    }
    printf("\n ]}\n");
}

/* Adds `one` to `all`: counts add up, times enclose, and what is unknown makes the sum so. */
static void add(struct received *all, const struct received *one)
{
    all->unknown = all->unknown || one->unknown;
    if (!one->first_ns)
        return;
    if (!all->first_ns || one->first_ns < all->first_ns)
        all->first_ns = one->first_ns;
    if (one->last_ns > all->last_ns)
        all->last_ns = one->last_ns;
    all->messages += one->messages;
}

static int print_result(const struct plan *plan)
{
    uint32_t errors[5] = {0};
    struct received there = {0}, here = {0};
    for (uint32_t number = 0; number < plan->flows; number++) {
        const struct flow *flow = &plan->flow[number];
        errors[flow->outcome]++;
        add(&there, &flow->there);
        add(&here, &flow->end.in);
        if (flow->outcome != WELL)
            say("flow %" PRIu32 ": %s", number, flow->error);
    }
    bool well = errors[WELL] == plan->flows;
    uint64_t there_ns = there.last_ns - there.first_ns, here_ns = here.last_ns - here.first_ns;
    double seconds = (double)(there_ns > here_ns ? there_ns : here_ns) / 1e9;
    struct received all = {.messages = there.messages + here.messages,
                           .unknown = there.unknown || here.unknown};
    double messages = (double)all.messages, bytes = messages * plan->settings.message_bytes;
    printf("{\"stream\": 1, \"version\": \"%s\", \"address\": \"%s\", \"flows\": %" PRIu32
           ", \"message_bytes\": %" PRIu32 ", \"direction\": \"%s\",\n ", VERSION,
           plan->address->text, plan->flows, plan->settings.message_bytes,
           DIRECTIONS[plan->settings.direction]);
    print_counts(&all, plan->settings.message_bytes);
    if (well && seconds > 0)
        printf(", \"seconds\": %.9f, \"messages_per_s\": %.3f, \"bytes_per_s\": %.3f,\n ", seconds,
               messages / seconds, bytes / seconds);
    else
        printf(", \"seconds\": null, \"messages_per_s\": null, \"bytes_per_s\": null,\n ");
    printf("\"errors\": {\"connect\": %" PRIu32 ", \"read\": %" PRIu32 ", \"write\": %" PRIu32
           ", \"corrupt\": %" PRIu32 "},\n", errors[CONNECT_FAILED], errors[READ_FAILED],
           errors[WRITE_FAILED], errors[CORRUPT]);
    print_flows(plan);
    if (well && seconds <= 0)
        say("everything came in one read, so there is no time to divide by; give more --time");
    return fflush(stdout) == 0 && well && seconds > 0 ? DONE : FAILED;
}

static int send_to(const struct address *address, const struct settings *settings, uint32_t flows)
{
    struct plan plan = {.address = address, .settings = *settings, .flows = flows};
    pthread_t *threads = calloc(flows, sizeof *threads);
    plan.flow = calloc(flows, sizeof *plan.flow);
    if (!plan.flow || !threads || pthread_barrier_init(&plan.ready, NULL, flows) != 0) {
        say("no memory for %" PRIu32 " flows", flows);
        exit(FAILED);
    }
    for (uint32_t number = 0; number < flows; number++) {
        plan.flow[number].plan = &plan;
        if (pthread_create(&threads[number], NULL, run_flow, &plan.flow[number]) != 0) {
            say("no thread for flow %" PRIu32, number);
            exit(FAILED);
        }
    }
    for (uint32_t number = 0; number < flows; number++) {
        pthread_join(threads[number], NULL);
        if (plan.flow[number].end.fd >= 0)
            close(plan.flow[number].end.fd);
    }
    int code = print_result(&plan);
    pthread_barrier_destroy(&plan.ready);
    free(plan.flow);
    free(threads);
    return code;
}

static int ping(const struct address *address)
{
    const struct settings settings = {.direction = PING, .message_bytes = HEAD_BYTES};
    struct end end;
    uint64_t server;
    char error[128] = "";
    enum outcome outcome = connect_flow(address, &settings, PING_S, 0, &end, &server, error);
    if (end.fd >= 0)
        close(end.fd);
    if (outcome != WELL) {
        say("%s: %s", address->text, error);
        return FAILED;
    }
    printf("%s answers\n", address->text);
    return DONE;
}

/* ---- command line ---- */

static const char HELP[] =
    "stream serve ADDRESS [--mode 0660]\n"
    "stream send ADDRESS --flows N --message-bytes B --time S --direction to|from|both\n"
    "stream ping ADDRESS\n"
    "stream --version\n"
    "ADDRESS: unix:/path, unix:@name (abstract), tcp:host:port, tcp:[v6]:port\n"
    "serve takes port 0 for any that is free, and says which.\n";

static uint32_t read_number(const char *option, const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value < least || value > most)
        refuse("%s: expected a whole number from %ld to %ld, not '%s'", option, least, most, text);
    return (uint32_t)value;
}

static uint64_t read_time(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (strspn(text, "0123456789.") != strlen(text) || *end || end == text ||
        !(value >= 0.01 && value <= MOST_SECONDS))
        refuse("--time: expected seconds from 0.01 to %d, not '%s'", MOST_SECONDS, text);
    return (uint64_t)(value * 1e6);
}

static enum direction read_direction(const char *text)
{
    for (int direction = TO; direction <= BOTH; direction++)
        if (strcmp(text, DIRECTIONS[direction]) == 0)
            return (enum direction)direction;
    refuse("--direction: expected to, from or both, not '%s'", text);
}

/* "660" is refused: elsewhere, in Consul for one, it would be read as a decimal number. */
static long read_mode(const char *text)
{
    size_t digits = strlen(text);
    if (text[0] != '0' || digits != 4 || strspn(text, "01234567") != digits)
        refuse("--mode: expected four octal digits, the first a 0, as 0660, not '%s'", text);
    return strtol(text, NULL, 8);
}

static const struct option OPTIONS[] = {
    {"flows", required_argument, NULL, 'f'},  {"message-bytes", required_argument, NULL, 'b'},
    {"time", required_argument, NULL, 't'},   {"direction", required_argument, NULL, 'd'},
    {"mode", required_argument, NULL, 'm'},   {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
};

struct given {
    const char *flows, *message_bytes, *time, *direction, *mode;
};

static struct given read_options(int argc, char **argv)
{
    struct given given = {0};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'f': given.flows = optarg; break;
        case 'b': given.message_bytes = optarg; break;
        case 't': given.time = optarg; break;
        case 'd': given.direction = optarg; break;
        case 'm': given.mode = optarg; break;
        case 'v': printf("stream %s\n", VERSION); exit(DONE);
        case 'h': fputs(HELP, stdout); exit(DONE);
        case ':': refuse("%s: a value is expected after it", argv[optind - 1]);
        default: refuse("%s: unknown option; stream --help lists them", argv[optind - 1]);
        }
    }
    return given;
}

static int run_send(const char *target, const struct given *given)
{
    const struct { const char *name, *value; } needed[] = {
        {"--flows", given->flows}, {"--message-bytes", given->message_bytes},
        {"--time", given->time}, {"--direction", given->direction},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!needed[i].value)
            refuse("send: %s is missing; stream --help shows all", needed[i].name);
    struct settings settings = {
        .direction = read_direction(given->direction),
        .message_bytes = read_number("--message-bytes", given->message_bytes, HEAD_BYTES,
                                     MOST_MESSAGE_BYTES),
        .time_us = read_time(given->time),
    };
    uint32_t flows = read_number("--flows", given->flows, 1, MOST_FLOWS);
    struct address address = read_address(target, 1);
    return send_to(&address, &settings, flows);
}

int main(int argc, char **argv)
{
    struct given given = read_options(argc, argv);
    if (argc - optind != 2)
        refuse("expected serve, send or ping, and one address; stream --help shows both");
    const char *role = argv[optind], *target = argv[optind + 1];
    bool sends = strcmp(role, "send") == 0, serves = strcmp(role, "serve") == 0;
    if (!sends && !serves && strcmp(role, "ping") != 0)
        refuse("expected serve, send or ping, not '%s'", role);
    if (!sends && (given.flows || given.message_bytes || given.time || given.direction))
        refuse("%s: --flows, --message-bytes, --time and --direction are for send", role);
    if (!serves && given.mode)
        refuse("%s: --mode is for serve", role);
    if (sends)
        return run_send(target, &given);
    struct address address = read_address(target, serves ? 0 : 1);
    if (!serves)
        return ping(&address);
    if (given.mode && address.local.sun_path[0] != '/')
        refuse("--mode: %s is no file", target);
    return serve(&address, given.mode ? read_mode(given.mode) : -1);
}
