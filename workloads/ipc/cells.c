/*
 * What is measured of an opened mechanism.
 *
 * latency     round trips: a message goes, the serving end sends it back
 * throughput  messages one way, as fast as they go; the figures are the serving end's, from its
 *             first message to the last
 * connect     connections, one after another: from socket() until connect() returns
 *
 * Every message carries its number; of every 256th the content is summed and compared too. A wrong
 * one ends the run without a figure. Of the first byte, 255 marks the message that ends a cell and
 * 0 to 254 are the number's remainder, so that a message of one byte is checked as well.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const uint64_t LOST_NS = 300000000; /* more than a tick, which ends a wait */

enum { NUMBERED = 16, LAST = 255, SUMMED_EACH = 256, LOOKS_EACH = 16, CLOCK_TRIES = 10000 };

/* One buffer: what is filled once, sent, and read into. */
static struct {
    _Alignas(64) uint8_t headroom[HEADROOM];
    uint8_t data[MOST_BYTES];
} going, coming;

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The least that two readings are apart: what every time measured here holds of the clock. */
uint64_t clock_overhead_ns(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < CLOCK_TRIES; i++) {
        uint64_t began = now_ns(), ns = now_ns() - began;
        if (ns < least)
            least = ns;
    }
    return least;
}

static void fill(size_t bytes)
{
    uint32_t next = 1;
    for (size_t at = 0; at < bytes; at++) {
        next = next * 1664525u + 1013904223u;
        going.data[at] = (uint8_t)(next >> 24);
    }
}

/* FNV-1a over words of eight bytes; the rest of a size that is no multiple is left out. */
static uint32_t sum_of(const uint8_t *data, size_t bytes, uint64_t number)
{
    uint64_t sum = 0xcbf29ce484222325u ^ number, word;
    for (size_t at = NUMBERED; at + sizeof word <= bytes; at += sizeof word) {
        memcpy(&word, data + at, sizeof word);
        sum = (sum ^ word) * 0x100000001b3u;
    }
    return (uint32_t)(sum ^ sum >> 32);
}

static void stamp(size_t bytes, uint64_t number)
{
    going.data[0] = (uint8_t)(number % LAST);
    if (bytes < NUMBERED)
        return;
    uint32_t sum = number % SUMMED_EACH ? 0 : sum_of(going.data, bytes, number);
    memcpy(going.data + 4, &sum, sizeof sum);
    memcpy(going.data + 8, &number, sizeof number);
}

static uint64_t number_of(const uint8_t *data, size_t bytes, uint64_t expected)
{
    uint64_t number;
    if (bytes < NUMBERED)
        return data[0] == expected % LAST ? expected : UINT64_MAX;
    memcpy(&number, data + 8, sizeof number);
    return data[0] == number % LAST ? number : UINT64_MAX;
}

static bool sum_is_right(const uint8_t *data, size_t bytes, uint64_t number)
{
    uint32_t sum;
    if (bytes < NUMBERED || number % SUMMED_EACH)
        return true;
    memcpy(&sum, data + 4, sizeof sum);
    return sum == sum_of(data, bytes, number) ||
           went_wrong("message %" PRIu64 " was changed on its way", number);
}

static bool send_last(struct channel *channel, size_t bytes)
{
    going.data[0] = LAST;
    return channel->mechanism->send(channel, going.data, bytes);
}

static void used(uint64_t *cpu_ns, uint64_t *switches)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    *cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
              (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
    *switches = (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw);
}

/* Waits for the answer to message `number`; of what may be lost, older ones are passed over.
   1: it came; 0: it did not come for a while, where messages may be lost; -1: a trouble. */
static int answered(struct channel *channel, size_t bytes, uint64_t number, uint64_t went)
{
    for (;;) {
        if (!channel->mechanism->receive(channel, coming.data, bytes)) {
            if (trouble.call || !go_on())
                return -1;
            if (now_ns() - went > LOST_NS)
                return 0;
            continue;
        }
        uint64_t came = number_of(coming.data, bytes, number);
        if (came == number)
            return 1;
        if (!channel->mechanism->loses) {
            went_wrong("message %" PRIu64 " came as %" PRIu64, number, came);
            return -1;
        }
    }
}

static bool measure_latency(struct channel *channel, const struct cell *cell,
                            struct histogram *histogram, struct seen *seen)
{
    uint64_t began = now_ns(), end = began + cell->time_ns, came = began;
    for (uint64_t number = 0; came < end; number++) {
        stamp(cell->bytes, number);
        uint64_t went = now_ns();
        if (!channel->mechanism->send(channel, going.data, cell->bytes))
            return false;
        int answer = answered(channel, cell->bytes, number, went);
        came = now_ns();
        if (answer < 0 || (ticked() && !go_on()) ||
            (answer && !sum_is_right(coming.data, cell->bytes, number)))
            return false;
        if (answer) {
            histogram_add(histogram, came - went);
            seen->count++;
        } else {
            seen->lost++;
        }
    }
    seen->ns = came - began;
    return send_last(channel, cell->bytes);
}

static bool measure_throughput(struct channel *channel, const struct cell *cell, struct seen *seen)
{
    uint64_t began = now_ns(), end = began + cell->time_ns;
    while (seen->count % LOOKS_EACH || now_ns() < end) {
        stamp(cell->bytes, seen->count);
        if (!channel->mechanism->send(channel, going.data, cell->bytes) || (ticked() && !go_on()))
            return false;
        seen->count++;
    }
    seen->ns = now_ns() - began;
    return send_last(channel, cell->bytes);
}

static bool measure_connect(struct channel *channel, const struct cell *cell,
                            struct histogram *histogram, struct seen *seen)
{
    uint64_t began = now_ns(), end = began + cell->time_ns, ns;
    while (now_ns() < end) {
        if (!connect_once(channel, &ns) || !go_on())
            return false;
        histogram_add(histogram, ns);
        seen->count++;
    }
    seen->ns = now_ns() - began;
    return true;
}

bool cell_measure(struct channel *channel, const struct cell *cell, struct histogram *histogram,
                  struct seen *seen)
{
    uint64_t cpu_ns, switches;
    bool well;
    fill(cell->bytes);
    histogram_clear(histogram);
    *seen = (struct seen){0};
    used(&cpu_ns, &switches);
    if (cell->mode == LATENCY)
        well = measure_latency(channel, cell, histogram, seen);
    else if (cell->mode == THROUGHPUT)
        well = measure_throughput(channel, cell, seen);
    else
        well = measure_connect(channel, cell, histogram, seen);
    used(&seen->cpu_ns, &seen->switches);
    seen->cpu_ns -= cpu_ns;
    seen->switches -= switches;
    return well;
}

/* The next message; false with `over` where it is the last, or where none comes any more. */
static bool next_message(struct channel *channel, uint8_t *data, size_t bytes, bool *over,
                         bool *lost_end)
{
    bool told = false;
    if (ticked() && !go_on()) /* an end that never waits is never interrupted */
        return false;
    while (!channel->mechanism->receive(channel, data, bytes)) {
        if (trouble.call || !go_on())
            return false;
        if (told) { /* nothing came for a tick after the other end said that it had sent all */
            *over = *lost_end = true;
            return false;
        }
        told = meeting_waits();
    }
    *over = data[0] == LAST;
    return !*over;
}

static bool serve_messages(struct channel *channel, const struct cell *cell, struct seen *seen)
{
    /* Echoed from where a message is sent from, so that both ways cost the same. */
    uint8_t *data = cell->mode == LATENCY ? going.data : coming.data;
    uint64_t first = 0, last = 0, expected = 0;
    bool over = false, lost_end = false;
    while (next_message(channel, data, cell->bytes, &over, &lost_end)) {
        uint64_t number = number_of(data, cell->bytes, expected);
        if (!channel->mechanism->loses && number != expected)
            return went_wrong("message %" PRIu64 " came as %" PRIu64, expected, number);
        /* Datagrams may come late, and one that others overtook is no loss. */
        if (number == UINT64_MAX || number >= expected)
            expected = (number == UINT64_MAX ? expected : number) + 1;
        if (cell->mode == LATENCY) {
            if (!channel->mechanism->send(channel, data, cell->bytes))
                return false;
        } else if (number != UINT64_MAX && !sum_is_right(data, cell->bytes, number)) {
            return false;
        }
        if (seen->count++ == 0)
            first = last = now_ns();
        else if (seen->count % LOOKS_EACH == 0) /* for the end that is lost; all pay for it alike */
            last = now_ns();
    }
    if (!lost_end)
        last = now_ns();
    seen->ns = first ? last - first : 0;
    return over;
}

static bool serve_connections(struct channel *channel, struct seen *seen, int meeting)
{
    struct pollfd both[] = {{.fd = channel->listener, .events = POLLIN},
                            {.fd = meeting, .events = POLLIN}};
    for (;;) {
        if (poll(both, 2, -1) < 0) {
            if (errno != EINTR)
                return refused("poll", NULL);
            if (!go_on())
                return false;
        } else if (both[0].revents) {
            if (!accept_once(channel))
                return false;
            seen->count++;
        } else if (both[1].revents) {
            return true;
        }
    }
}

bool cell_serve(struct channel *channel, const struct cell *cell, int meeting, struct seen *seen)
{
    uint64_t cpu_ns, switches;
    *seen = (struct seen){0};
    used(&cpu_ns, &switches);
    bool well = cell->mode == CONNECT ? serve_connections(channel, seen, meeting)
                                      : serve_messages(channel, cell, seen);
    used(&seen->cpu_ns, &seen->switches);
    seen->cpu_ns -= cpu_ns;
    seen->switches -= switches;
    return well;
}
