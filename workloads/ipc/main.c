/*
 * ipc: what it costs two processes to talk, mechanism by mechanism.
 *
 *   gcc -std=c11 -O2 -Wall -Wextra -Werror -o ipc *.c
 *
 *   ipc measure MECHANISM PLACE [--fork] [--cpus any|same|apart:CPUS] [--user-namespace]
 *               [--time S] [--latency SIZES] [--throughput SIZES] [--connect]
 *   ipc serve [--user-namespace] PLACE
 *   ipc list
 *   ipc clean DIRECTORY
 *
 * The serving end is another process, `ipc serve` in another container if one likes, or with --fork
 * a child of the measuring one. They meet in PLACE, an empty directory of their own, which both must
 * see; `list` says what else the two must share for a mechanism. TCP and UDP need not be on one host:
 * PLACE is then tcp:ADDRESS:PORT, the serving end's, which uses the port after it, too. With
 * --user-namespace an end first makes one of its own, which a child of it is in, too.
 *
 * Of the CPUs with --fork, numbers separated by commas, `same` puts both ends on the last one, and
 * `apart` the measuring one there and the serving one on the first; `any` leaves it to the kernel.
 *
 * SIZES are bytes of a message, separated by commas. The cells (a mode and a size each) share --time
 * seconds among them, those that the mechanism has; each takes a tenth more before, as warm-up.
 *
 * Output: JSON, a line each: one that opens, one for each cell, one that ends. Of a pipe the first
 * has `pipe_bytes`, how much the two hold, to the serving end and from it. A latency is a ROUND
 * TRIP in ns, on the measuring end's monotonic clock, and holds one reading of that clock, which
 * `clock_ns` gives: subtract it. `histogram` has [ns, count], rising. A throughput is the serving
 * end's. A cell that cannot be measured says so in `state`: `too_large` with the limit and its name,
 * `not_applicable` (connections of what has none). CPU and context switches are of both ends, each
 * over its part of the cell.
 *
 * Exit code: 0 measured; 1 it went wrong, and there is no figure; another time it may not; 2 usage;
 * 3 the kernel or the container forbids the mechanism: the one line has call, errno, and what would
 * allow it.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SIZES = 16, MOST_CELLS = 2 * MOST_SIZES + 1, MOST_SECONDS = 3600, WARM_PART = 10 };

static const char *const MODES[] = {"latency", "throughput", "connect"};

struct sizes {
    size_t bytes[MOST_SIZES];
    int count;
};

struct asked {
    const struct mechanism *mechanism;
    const char *directory;
    bool forks, connect, apart; /* apart: in a user namespace */
    int cpus[2]; /* measuring, serving; -1: as it is */
    uint64_t time_ns;
    struct sizes latency, throughput;
};

static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void refuse(const char *format, ...)
{
    va_list arguments;
    fputs("ipc: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\n", stderr);
    exit(USAGE);
}

/* ---- saying ---- */

static void print_quoted(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else
            fprintf(file, (unsigned char)*text < ' ' ? "\\u%04x" : "%c", (unsigned char)*text);
    fputc('"', file);
}

/* The rest of a line, as members of an object. */
static void print_trouble(FILE *file)
{
    const char *text = trouble.number ? strerror(trouble.number) : trouble.text;
    fputs("\"call\":", file);
    print_quoted(file, trouble.call ? trouble.call : "ipc");
    if (trouble.number) {
        const char *name = strerrorname_np(trouble.number);
        fputs(",\"errno\":", file);
        print_quoted(file, name ? name : "unknown");
    }
    fputs(",\"text\":", file);
    print_quoted(file, text);
    if (trouble.allow) {
        fputs(",\"allow\":", file);
        print_quoted(file, trouble.allow);
    }
}

static void say_trouble(const char *command)
{
    fprintf(stderr, "{\"ipc\":\"%s\",\"command\":\"%s\",", IPC_VERSION, command);
    print_trouble(stderr);
    fputs("}\n", stderr);
}

/* ---- serving ---- */

static bool open_serving(struct channel *channel, struct letter *letter)
{
    struct letter ready = {.word = READY};
    uint64_t index = letter->mechanism;
    const struct mechanism *mechanism = mechanism_at(index);
    if (!mechanism)
        return went_wrong("no mechanism has the number %" PRIu64, index);
    if (channel->far && !mechanism->travels)
        return went_wrong("%s works on one host only; meet in a directory", mechanism->name);
    channel->mechanism = mechanism;
    if (mechanism->forget) /* of a run that was killed */
        mechanism->forget(channel->directory);
    if (!mechanism->prepare(channel))
        return false;
    ready.port = channel->port;
    if (!meeting_send(&ready, channel->passed, channel->passed_count))
        return false;
    for (int i = 0; i < channel->passed_count && !channel->keeps_passed; i++) {
        close(channel->passed[i]); /* else the other end's hanging up would go unnoticed */
        channel->passed[i] = -1;
    }
    if (!meeting_receive(letter, OPENED, NULL, NULL))
        return false;
    channel->peer_port = (uint32_t)letter->port;
    if (mechanism->complete && !mechanism->complete(channel))
        return false;
    ready = (struct letter){.word = READY};
    return meeting_send(&ready, NULL, 0);
}

static bool serve_cell(struct channel *channel, const struct letter *letter, int meeting)
{
    struct cell cell = {.mode = letter->mode, .bytes = letter->bytes, .time_ns = letter->time_ns};
    struct letter ready = {.word = READY}, done;
    struct seen seen;
    if (cell.mode > CONNECT || cell.bytes < 1 || cell.bytes > MOST_BYTES)
        return went_wrong("a cell of mode %u and %zu bytes", cell.mode, cell.bytes);
    patience_begin(cell.time_ns);
    bool well = meeting_send(&ready, NULL, 0) && cell_serve(channel, &cell, meeting, &seen) &&
                meeting_receive(&done, DONE, NULL, NULL);
    patience_end();
    if (!well)
        return false;
    struct letter report = {.word = REPORT, .count = seen.count, .ns = seen.ns,
                            .cpu_ns = seen.cpu_ns, .switches = seen.switches};
    return meeting_send(&report, NULL, 0);
}

/* Within the grace: whoever says nothing is no measuring end, and others are waiting. */
static bool next_letter(struct letter *letter, enum word expected)
{
    patience_begin(0);
    bool well = meeting_receive(letter, expected, NULL, NULL);
    patience_end();
    return well;
}

/* One measuring end, until it leaves; it is told what makes this one unfit, if anything. */
static bool serve_one(const char *directory, int meeting, struct trouble unfit)
{
    struct channel channel;
    struct letter letter;
    trouble = (struct trouble){0};
    channel_init(&channel, mechanism_at(0), SERVES, directory);
    meeting_begin(meeting);
    bool well = next_letter(&letter, HELLO);
    if (well && unfit.call) {
        trouble = unfit;
        well = false;
    }
    if (well) {
        patience_begin(0);
        well = open_serving(&channel, &letter);
        patience_end();
    }
    while (well && (well = next_letter(&letter, ANY)) && letter.word == CELL)
        well = serve_cell(&channel, &letter, meeting);
    well = well && letter.word == BYE;
    if (!well)
        meeting_refuse();
    channel_close(&channel, true);
    close(meeting);
    return well;
}

/* An end that may not have its namespace stays, so that whoever comes is told. */
static int serve(const char *directory, bool apart)
{
    int listener, meeting;
    if (!meeting_listen(directory, &listener)) {
        say_trouble("serve");
        return FAILED;
    }
    if (apart)
        user_namespace();
    const struct trouble unfit = trouble;
    while (meeting_accept(listener, &meeting))
        if (!serve_one(directory, meeting, unfit))
            say_trouble("serve");
    if (!told_to_stop())
        say_trouble("serve");
    forget_all(directory);
    meeting_forget(directory);
    return told_to_stop() ? MEASURED : FAILED;
}

/* ---- measuring ---- */

/* Which of the two CPUs an end has; -1 leaves it where the machine lets it be. */
static bool pinned(int cpu)
{
    static char allow[64];
    cpu_set_t set;
    if (cpu < 0)
        return true;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    snprintf(allow, sizeof allow, "CPU %d among those that this process may use", cpu);
    return sched_setaffinity(0, sizeof set, &set) == 0 || refused("sched_setaffinity", allow);
}

static bool open_measuring(struct channel *channel, const struct mechanism *mechanism)
{
    struct letter letter = {.word = HELLO};
    while (mechanism_at(letter.mechanism) != mechanism)
        letter.mechanism++;
    if (!meeting_send(&letter, NULL, 0) ||
        !meeting_receive(&letter, READY, channel->passed, &channel->passed_count))
        return false;
    channel->peer_port = (uint32_t)letter.port;
    if (!mechanism->open(channel))
        return false;
    letter = (struct letter){.word = OPENED, .port = channel->port};
    return meeting_send(&letter, NULL, 0) && meeting_receive(&letter, READY, NULL, NULL);
}

/* One cell at both ends. `there` is what the serving end saw. */
static bool run_cell(struct channel *channel, const struct cell *cell, struct histogram *histogram,
                     struct seen *here, struct seen *there)
{
    struct letter letter = {.word = CELL, .mode = cell->mode, .bytes = cell->bytes,
                            .time_ns = cell->time_ns};
    patience_begin(cell->time_ns);
    bool well = meeting_send(&letter, NULL, 0) && meeting_receive(&letter, READY, NULL, NULL) &&
                cell_measure(channel, cell, histogram, here);
    letter = (struct letter){.word = DONE, .count = here->count};
    well = well && meeting_send(&letter, NULL, 0) && meeting_receive(&letter, REPORT, NULL, NULL);
    patience_end();
    *there = (struct seen){.count = letter.count, .ns = letter.ns, .cpu_ns = letter.cpu_ns,
                           .switches = letter.switches};
    if (well && cell->mode == THROUGHPUT) {
        if (there->count > here->count)
            return went_wrong("more messages came than were sent");
        here->lost = here->count - there->count;
        if (here->lost && !channel->mechanism->loses)
            return went_wrong("%" PRIu64 " messages were lost", here->lost);
    }
    return well;
}

static void print_measured(const struct cell *cell, const struct histogram *histogram,
                           const struct seen *here, const struct seen *there)
{
    const struct seen *counts = cell->mode == THROUGHPUT ? there : here;
    printf("\"state\":\"measured\",\"count\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"ns\":%" PRIu64
           ",\"cpu_ns\":[%" PRIu64 ",%" PRIu64 "],\"switches\":[%" PRIu64 ",%" PRIu64 "]",
           counts->count, here->lost, counts->ns, here->cpu_ns, there->cpu_ns, here->switches,
           there->switches);
    if (cell->mode != THROUGHPUT) {
        fputs(",", stdout);
        histogram_print(histogram);
    }
}

static bool applies(const struct channel *channel, const struct cell *cell)
{
    return cell->mode != CONNECT || channel->mechanism->connects;
}

static bool fits(const struct channel *channel, const struct cell *cell)
{
    return cell->mode == CONNECT || !channel->limit || cell->bytes <= channel->limit;
}

static bool one_cell(struct channel *channel, const struct cell *cell, struct histogram *histogram)
{
    struct seen here, there;
    struct cell warm = {cell->mode, cell->bytes, cell->time_ns / WARM_PART};
    bool well = true;
    printf("{\"mode\":\"%s\"", MODES[cell->mode]);
    if (cell->mode != CONNECT)
        printf(",\"bytes\":%zu", cell->bytes);
    fputs(",", stdout);
    if (!applies(channel, cell)) {
        fputs("\"state\":\"not_applicable\"", stdout);
    } else if (!fits(channel, cell)) {
        printf("\"state\":\"too_large\",\"limit_bytes\":%zu,\"limit\":", channel->limit);
        print_quoted(stdout, channel->limit_is);
    } else if (run_cell(channel, &warm, histogram, &here, &there) &&
               run_cell(channel, cell, histogram, &here, &there)) {
        print_measured(cell, histogram, &here, &there);
    } else {
        well = false;
        fputs("\"state\":\"failed\",", stdout);
        print_trouble(stdout);
    }
    fputs("}\n", stdout);
    return well;
}

static int cells_of(const struct asked *asked, struct cell cells[MOST_CELLS])
{
    int count = 0;
    for (int i = 0; i < asked->latency.count; i++)
        cells[count++] = (struct cell){.mode = LATENCY, .bytes = asked->latency.bytes[i]};
    for (int i = 0; i < asked->throughput.count; i++)
        cells[count++] = (struct cell){.mode = THROUGHPUT, .bytes = asked->throughput.bytes[i]};
    if (asked->connect)
        cells[count++] = (struct cell){.mode = CONNECT, .bytes = 1};
    return count;
}

static bool all_cells(struct channel *channel, const struct asked *asked,
                      struct histogram *histogram)
{
    struct cell cells[MOST_CELLS];
    int count = cells_of(asked, cells), measured = 0;
    for (int i = 0; i < count; i++)
        measured += applies(channel, &cells[i]) && fits(channel, &cells[i]);
    for (int i = 0; i < count; i++) {
        cells[i].time_ns = measured ? asked->time_ns / (uint64_t)measured : 0;
        if (!one_cell(channel, &cells[i], histogram))
            return false;
    }
    return true;
}

/* Whether it is the same the next time. All else (a port that is taken, a shortage, an end that
   does not answer) may be of the moment. */
static bool is_forbidden(void)
{
    static const int LASTING[] = {
        EPERM, EACCES, EROFS, ENOSYS, EOPNOTSUPP, EAFNOSUPPORT, EPFNOSUPPORT, EPROTONOSUPPORT,
        ESOCKTNOSUPPORT, ENODEV, EINVAL, /* a kernel without it, or a value beyond its limits */
        ENOENT, EIDRM, /* not in this directory or namespace */
    };
    for (size_t i = 0; i < sizeof LASTING / sizeof LASTING[0]; i++)
        if (trouble.number == LASTING[i])
            return true;
    /* Of user.max_user_namespaces, which is 0 where there are to be none. */
    return trouble.number == ENOSPC && strcmp(trouble.call, "unshare") == 0;
}

static void say_opened(const struct asked *asked, const struct channel *channel)
{
    printf("{\"ipc\":\"%s\",\"mechanism\":\"%s\",\"state\":\"opened\",\"clock_ns\":%" PRIu64,
           IPC_VERSION, asked->mechanism->name, clock_overhead_ns());
    if (channel->pipe_bytes[0])
        printf(",\"pipe_bytes\":[%d,%d]", channel->pipe_bytes[0], channel->pipe_bytes[1]);
    fputs("}\n", stdout);
}

/* The only line of the run, and its exit code. */
static int say_unopened(const struct asked *asked)
{
    bool forbidden = is_forbidden();
    printf("{\"ipc\":\"%s\",\"mechanism\":\"%s\",\"state\":\"%s\",", IPC_VERSION,
           asked->mechanism->name, forbidden ? "unavailable" : "failed");
    print_trouble(stdout);
    fputs("}\n", stdout);
    return forbidden ? UNAVAILABLE : FAILED;
}

static int measure_at(const struct asked *asked, int meeting)
{
    struct letter bye = {.word = BYE};
    struct channel channel;
    struct histogram *histogram = histogram_new();
    if (!histogram)
        refuse("no memory");
    channel_init(&channel, asked->mechanism, MEASURES, asked->directory);
    meeting_begin(meeting);
    patience_begin(0);
    bool opened = pinned(asked->cpus[0]) && open_measuring(&channel, asked->mechanism);
    patience_end();
    int otherwise = FAILED;
    if (opened)
        say_opened(asked, &channel);
    else
        otherwise = say_unopened(asked);
    bool well = opened && all_cells(&channel, asked, histogram) && meeting_send(&bye, NULL, 0);
    if (well)
        fputs("{\"state\":\"ended\"}\n", stdout);
    channel_close(&channel, opened && !well); /* names are the serving end's, if it is still there */
    free(histogram);
    close(meeting);
    return well ? MEASURED : otherwise;
}

static int measure_forked(const struct asked *asked)
{
    int both[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, both) != 0)
        refuse("socketpair: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0)
        refuse("fork: %s", strerror(errno));
    if (child == 0) {
        close(both[0]);
        pinned(asked->cpus[1]);
        _exit(serve_one(asked->directory, both[1], trouble) ? MEASURED : FAILED);
    }
    close(both[1]);
    int code = measure_at(asked, both[0]);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return code;
}

static int measure(const struct asked *asked)
{
    int meeting;
    if (asked->apart && !user_namespace())
        return say_unopened(asked);
    if (asked->forks)
        return measure_forked(asked);
    if (!meeting_join(asked->directory, &meeting)) {
        say_trouble("measure");
        return FAILED;
    }
    return measure_at(asked, meeting);
}

/* ---- arguments ---- */

static long number_of(const char *text, char **end, long least, long most, const char *what)
{
    errno = 0;
    long number = strtol(text, end, 10);
    if (*end == text || errno || number < least || number > most)
        refuse("%s: expected a whole number from %ld to %ld, not '%s'", what, least, most, text);
    return number;
}

static struct sizes read_sizes(const char *text, const char *what)
{
    struct sizes sizes = {.count = 0};
    for (char *end;; text = end + 1) {
        if (sizes.count == MOST_SIZES)
            refuse("%s: at most %d sizes", what, MOST_SIZES);
        sizes.bytes[sizes.count++] = (size_t)number_of(text, &end, 1, MOST_BYTES, what);
        if (!*end)
            return sizes;
        if (*end != ',')
            refuse("%s: expected sizes in bytes, separated by commas, not '%s'", what, end);
    }
}

static void read_cpus(const char *text, int cpus[2])
{
    const char *listed = strchr(text, ':');
    size_t length = listed ? (size_t)(listed - text) : 0;
    bool apart = length == 5 && strncmp(text, "apart", length) == 0;
    bool same = length == 4 && strncmp(text, "same", length) == 0;
    bool any = length == 3 && strncmp(text, "any", length) == 0;
    if (!apart && !same && !any)
        refuse("--cpus: expected any, same or apart, a colon and CPUs, not '%s'", text);
    long first = -1, last;
    for (char *end;; listed = end) {
        last = number_of(listed + 1, &end, 0, CPU_SETSIZE - 1, "--cpus");
        first = first < 0 ? last : first;
        if (!*end)
            break;
        if (*end != ',')
            refuse("--cpus: expected CPUs, separated by commas, not '%s'", end);
    }
    if (any)
        return;
    cpus[0] = (int)last;
    cpus[1] = (int)(apart ? first : last);
}

static struct asked read_asked(int argc, char **argv)
{
    static const struct option options[] = {
        {"fork", no_argument, NULL, 'f'},       {"cpus", required_argument, NULL, 'p'},
        {"time", required_argument, NULL, 't'}, {"latency", required_argument, NULL, 'l'},
        {"throughput", required_argument, NULL, 'b'}, {"connect", no_argument, NULL, 'c'},
        {"user-namespace", no_argument, NULL, 'u'},
        {NULL, 0, NULL, 0},
    };
    struct asked asked = {.cpus = {-1, -1}, .time_ns = 1000000000u};
    char *end;
    int option;
    double seconds;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'f':
            asked.forks = true;
            break;
        case 'c':
            asked.connect = true;
            break;
        case 'u':
            asked.apart = true;
            break;
        case 'p':
            read_cpus(optarg, asked.cpus);
            break;
        case 'l':
            asked.latency = read_sizes(optarg, "--latency");
            break;
        case 'b':
            asked.throughput = read_sizes(optarg, "--throughput");
            break;
        case 't':
            seconds = strtod(optarg, &end);
            if (end == optarg || *end || !(seconds >= 0.01 && seconds <= MOST_SECONDS))
                refuse("--time: expected seconds from 0.01 to %d, not '%s'", MOST_SECONDS, optarg);
            asked.time_ns = (uint64_t)(seconds * 1e9);
            break;
        default:
            exit(USAGE);
        }
    if (argc - optind != 2)
        refuse("measure: expected MECHANISM and PLACE");
    asked.mechanism = mechanism_named(argv[optind]);
    asked.directory = argv[optind + 1];
    if (!asked.mechanism)
        refuse("%s: no such mechanism; ipc list names them", argv[optind]);
    if (!asked.forks && asked.cpus[1] >= 0)
        refuse("--cpus: only with --fork; a serving end of its own is pinned where it starts");
    if (!asked.latency.count && !asked.throughput.count && !asked.connect)
        refuse("measure: nothing to measure; expected --latency, --throughput or --connect");
    return asked;
}

static const char *a_directory(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0 || !S_ISDIR(found.st_mode))
        refuse("%s: expected a directory that is there", path);
    return path;
}

static const char *a_place(const char *text)
{
    struct sockaddr_in far;
    if (place_far(text, &far))
        return text;
    if (strncmp(text, "tcp:", 4) == 0)
        refuse("%s: expected tcp:ADDRESS:PORT with an IPv4 address and a port from 1 to 65534", text);
    return a_directory(text);
}

static void list(void)
{
    const struct mechanism *one;
    for (size_t index = 0; (one = mechanism_at(index)); index++)
        printf("{\"mechanism\":\"%s\",\"shares\":\"%s\",\"connects\":%s,\"loses\":%s}\n", one->name,
               one->shares, one->connects ? "true" : "false", one->loses ? "true" : "false");
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    signals_begin();
    if (strcmp(command, "measure") == 0) {
        struct asked asked = read_asked(argc - 1, argv + 1);
        if (a_place(asked.directory) && asked.forks)
            a_directory(asked.directory);
        return measure(&asked);
    }
    bool apart = argc == 4 && strcmp(argv[2], "--user-namespace") == 0;
    if (strcmp(command, "serve") == 0 && (argc == 3 || apart))
        return serve(a_place(argv[argc - 1]), apart);
    if (strcmp(command, "list") == 0 && argc == 2) {
        list();
        return MEASURED;
    }
    if (strcmp(command, "clean") == 0 && argc == 3) {
        forget_all(argv[2]);
        meeting_forget(argv[2]);
        return MEASURED;
    }
    refuse("expected measure MECHANISM PLACE, serve [--user-namespace] PLACE, list, or clean "
           "DIRECTORY");
}
