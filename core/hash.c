#include "core/hash.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "core/files/file.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dm_hash_key process_key;

static void make_key(void)
{
    unsigned char bytes[sizeof process_key];
    const int fd = dm_open("/dev/urandom", O_RDONLY);
    const ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;

    if (fd >= 0)
        close(fd);
    if (n != (ssize_t)sizeof bytes) {
        struct timespec t = {0};
        clock_gettime(CLOCK_MONOTONIC, &t);
        const dm_hash_key known = {(uint64_t)(uintptr_t)bytes, (uint64_t)getpid()};
        const uint64_t now[2] = {(uint64_t)t.tv_sec, (uint64_t)t.tv_nsec};
        process_key.a = dm_hash(known, now, sizeof now) | 1;
        process_key.b = dm_hash((dm_hash_key){known.b, known.a}, now, sizeof now) | 1;
        return;
    }
    for (size_t i = 0; i < 8; i++) {
        process_key.a = process_key.a << 8 | bytes[i];
        process_key.b = process_key.b << 8 | bytes[8 + i];
    }
    process_key.a |= 1; /* a factor in dm_hash_pair */
    process_key.b |= 1;
}

dm_hash_key dm_hash_key_get(void)
{
    pthread_once(&once, make_key);
    return process_key;
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void rounds(uint64_t v[4], int n)
{
    for (; n > 0; n--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

/* Little-endian; the last word has the length in its highest byte. */
uint64_t dm_hash(dm_hash_key key, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    uint64_t v[4] = {key.a ^ 0x736F6D6570736575u, key.b ^ 0x646F72616E646F6Du, key.a ^ 0x6C7967656E657261u,
                     key.b ^ 0x7465646279746573u};

    for (size_t left = size;; left -= 8, p += 8) {
        uint64_t word = left < 8 ? (uint64_t)size << 56 : 0;
        for (size_t i = 0; i < (left < 8 ? left : 8); i++)
            word |= (uint64_t)p[i] << 8 * i;
        v[3] ^= word;
        rounds(v, 2);
        v[0] ^= word;
        if (left < 8)
            break;
    }
    v[2] ^= 0xFF;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
