/*
 * Times by their size: exact below 256 ns, and with 128 steps for each power of two above, so that
 * a value is off by less than half a percent. 2^40 ns (18 minutes) and more share the last step.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT = 256, STEPS = 128, EXACT_BITS = 8, MOST_BITS = 40,
       BUCKETS = EXACT + (MOST_BITS - EXACT_BITS) * STEPS };

struct histogram {
    uint64_t least, most, count[BUCKETS];
};

struct histogram *histogram_new(void)
{
    struct histogram *made = malloc(sizeof *made);
    if (made)
        histogram_clear(made);
    return made;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->least = UINT64_MAX;
}

static size_t bucket_of(uint64_t ns)
{
    if (ns < EXACT)
        return ns;
    int bits = 63 - __builtin_clzll(ns); /* ns is in [2^bits, 2^(bits+1)) */
    if (bits >= MOST_BITS)
        return BUCKETS - 1;
    return EXACT + (size_t)(bits - EXACT_BITS) * STEPS + (size_t)((ns >> (bits - 7)) & (STEPS - 1));
}

/* The middle of a bucket. */
static uint64_t value_of(size_t bucket)
{
    if (bucket < EXACT)
        return bucket;
    size_t above = bucket - EXACT;
    int bits = (int)(above / STEPS) + EXACT_BITS;
    uint64_t step = 1ull << (bits - 7);
    return (1ull << bits) + (above % STEPS) * step + step / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count[bucket_of(ns)]++;
    if (ns < histogram->least)
        histogram->least = ns;
    if (ns > histogram->most)
        histogram->most = ns;
}

void histogram_print(const struct histogram *histogram)
{
    const char *between = "";
    printf("\"least_ns\":%" PRIu64 ",\"most_ns\":%" PRIu64 ",\"histogram\":[",
           histogram->least == UINT64_MAX ? 0 : histogram->least, histogram->most);
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        if (histogram->count[bucket]) {
            printf("%s[%" PRIu64 ",%" PRIu64 "]", between, value_of(bucket),
                   histogram->count[bucket]);
            between = ",";
        }
    fputs("]", stdout);
}
