#include "core/numbers/bits.h"
#include "io/tensorboard.h"

#include <math.h>
#include <string.h>

/* ---- CRC-32C: polynomial 0x1EDC6F41, bits reflected ---- */

uint32_t dm_crc32c(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

uint32_t dm_crc32c_masked(const void *data, size_t size)
{
    const uint32_t crc = dm_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- bytes; what does not fit makes the buffer fail ---- */

typedef struct buffer {
    unsigned char *data;
    size_t size, room;
    int failed;
} buffer;

static void put(buffer *b, const void *data, size_t size)
{
    if (b->failed || size > b->room - b->size) {
        b->failed = 1;
        return;
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_little(buffer *b, uint64_t value, size_t bytes)
{
    unsigned char out[8];

    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> 8 * i & 0xff);
    put(b, out, bytes);
}

/* ---- protobuf: a field is a key (number, wire type) and what the type says ---- */

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static void put_varint(buffer *b, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        put_little(b, value % 128 + 128, 1);
    put_little(b, value, 1);
}

static void put_key(buffer *b, unsigned field, unsigned type)
{
    put_varint(b, field << 3 | type);
}

static void put_double(buffer *b, unsigned field, double value)
{
    put_key(b, field, FIXED64);
    put_little(b, dm_f64_bits(value), 8);
}

static void put_float(buffer *b, unsigned field, double value)
{
    put_key(b, field, FIXED32);
    put_little(b, dm_f32_bits((float)value), 4);
}

static size_t varint_size(uint64_t value)
{
    size_t n = 1;
    for (; value >= 128; value >>= 7)
        n++;
    return n;
}

/* ---- events ---- */

#define HEAD 12 /* length and its sum, before the data */

static buffer record_open(unsigned char *out, double wall_time)
{
    buffer b = {.data = out, .size = HEAD, .room = DM_TENSORBOARD_RECORD};
    put_double(&b, 1, wall_time);
    return b;
}

static size_t record_close(buffer *b)
{
    buffer head = {.data = b->data, .room = HEAD};

    put_little(&head, b->size - HEAD, 8);
    put_little(&head, dm_crc32c_masked(b->data, 8), 4);
    put_little(b, dm_crc32c_masked(b->data + HEAD, b->size - HEAD), 4);
    return b->failed ? 0 : b->size;
}

size_t dm_tensorboard_begin(unsigned char out[DM_TENSORBOARD_RECORD], double wall_time)
{
    static const char version[] = "brain.Event:2";
    buffer b = record_open(out, wall_time);

    put_key(&b, 3, LENGTH);
    put_varint(&b, sizeof version - 1);
    put(&b, version, sizeof version - 1);
    return record_close(&b);
}

/* Of a value's message, without its own key and length. */
static size_t value_size(size_t tag)
{
    return 1 + varint_size(tag) + tag + 1 + 4;
}

size_t dm_tensorboard_scalars(unsigned char out[DM_TENSORBOARD_RECORD], double wall_time, int64_t step,
                              const char *prefix, const dm_tensorboard_scalar *scalar, size_t n)
{
    buffer b = record_open(out, wall_time);
    const size_t before = strlen(prefix) + 1;
    size_t summary = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t value = value_size(before + strlen(scalar[i].tag));
        summary += isnan(scalar[i].value) ? 0 : 1 + varint_size(value) + value;
    }
    put_key(&b, 2, VARINT);
    put_varint(&b, (uint64_t)step);
    put_key(&b, 5, LENGTH);
    put_varint(&b, summary);
    for (size_t i = 0; i < n; i++) {
        const size_t tag = before + strlen(scalar[i].tag);
        if (isnan(scalar[i].value))
            continue;
        put_key(&b, 1, LENGTH);
        put_varint(&b, value_size(tag));
        put_key(&b, 1, LENGTH);
        put_varint(&b, tag);
        put(&b, prefix, before - 1);
        put(&b, "/", 1);
        put(&b, scalar[i].tag, tag - before);
        put_float(&b, 2, scalar[i].value);
    }
    return record_close(&b);
}
