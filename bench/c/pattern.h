/* Bytes whose value tells their place: loss, doubling and disorder all show.
 *
 * Shared by loadgen.c and upstream.c. The stream has no period a relay's buffer could be a multiple of.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum { SEED_UP = 1, SEED_DOWN = 2 };      /* client to destination, destination to client */
enum { FIRST_BYTES = 300 * 1024 + 1 };    /* what a destination that speaks first sends: past the splice threshold */
enum { SINK_STEP = 1 << 20 };             /* a sink tells its count every so many bytes; uploads are whole multiples */
enum { MESSAGE = 64 };                    /* size of the small message of the setup, ping and idle tests */

static inline uint64_t pattern_word(uint64_t seed, uint64_t index)
{
    uint64_t x = index + seed * 0x9E3779B97F4A7C15ULL;
    x ^= x >> 33;
    x *= 0xFF51AFD7ED558CCDULL;
    return x ^ (x >> 29);
}

static inline uint8_t pattern_byte(uint64_t seed, uint64_t at)
{
    return (uint8_t)(pattern_word(seed, at >> 3) >> ((at & 7) * 8));
}

static inline void pattern_fill(uint8_t *buf, size_t n, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        buf[i] = pattern_byte(seed, at + i);
}

/* Place of the first wrong byte, or -1 if all n are right. */
static inline int64_t pattern_check(const uint8_t *buf, size_t n, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        if (buf[i] != pattern_byte(seed, at + i))
            return (int64_t)(at + i);
    return -1;
}

#endif
