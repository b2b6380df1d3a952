/* checkasm's buffers, fills and comparisons. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/checkasm/checkasm.h"

#define SLOTS 16
#define SLOT_BYTES ((size_t)0x80000)
#define ZONE ((size_t)512) /* bytes of canary on either side, as far as the memory goes */
#define CANARY 0xa5
#define SHOWN 3

/* ---- random numbers: splitmix64 ---- */

uint32_t ck_random(ck *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

size_t ck_below(ck *c, size_t n)
{
    return (size_t)((uint64_t)ck_random(c) * n >> 32);
}

float ck_uniform(ck *c, float low, float high)
{
    return low + (high - low) * ((float)(ck_random(c) >> 8) * 0x1p-24f);
}

static float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float signed_bits(ck *c, uint32_t low, uint32_t high)
{
    return of_bits((low + (uint32_t)ck_below(c, high - low)) | (ck_random(c) & 0x80000000u));
}

float ck_number(ck *c)
{
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001,
                                       0x7f7fffff, 0xff7fffff, 0x00000001, 0x80000001, 0x00800000, 0x807fffff,
                                       0x3f800000, 0xbf800000, 0x42b20000, 0xc2d00000};

    switch (c->fill) {
    case CK_LOGITS:
        return ck_uniform(c, -20.0f, 20.0f);
    case CK_WIDE:
        return signed_bits(c, 0, 0x7f800000);
    case CK_SUBNORMAL:
        return signed_bits(c, 0, 0x01000000);
    case CK_ZEROS:
        return ck_below(c, 8) ? signed_bits(c, 0, 1) : ck_uniform(c, -1.0f, 1.0f);
    case CK_TINY:
        return ck_uniform(c, 0x1p-81f, 0x1p-80f) * (c->negative ? -1.0f : 1.0f);
    case CK_HUGE:
        return signed_bits(c, 0x7e800000, 0x7f800000);
    case CK_SPECIAL:
        return of_bits(special[ck_below(c, sizeof special / sizeof *special)]);
    case CK_BITS:
        return of_bits(ck_random(c));
    default:
        return ck_uniform(c, -1.0f, 1.0f);
    }
}

void ck_set(ck *c, float *p, size_t n)
{
    c->negative = !c->negative;
    for (size_t i = 0; i < n; i++)
        p[i] = ck_number(c);
    if (c->fill == CK_ONE && n > 0) {
        static const uint32_t one[] = {0x7f800000, 0xff800000, 0x7fc00000};
        p[ck_below(c, n)] = of_bits(one[ck_below(c, 3)]);
    }
}

/* ---- memory: SLOTS pieces, each between two unreadable pages ---- */

typedef struct slot {
    unsigned char *data; /* slot_bytes, all that may be touched */
    unsigned char *buffer;
    size_t used; /* bytes of the buffer */
    bool sealed; /* an input: its bytes must stay what they were */
    uint64_t sum;
} slot;

static size_t slot_bytes;
static slot slots[SLOTS];

static void die(const char *what)
{
    fprintf(stderr, "checkasm: %s\n", what);
    exit(1);
}

static void map_slots(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int zero = open("/dev/zero", O_RDWR); /* POSIX has no anonymous mapping */

    slot_bytes = (SLOT_BYTES + page - 1) / page * page;
    for (size_t i = 0; i < SLOTS; i++) {
        unsigned char *p = mmap(NULL, slot_bytes + 2 * page, PROT_NONE, MAP_PRIVATE, zero, 0);
        if (p == MAP_FAILED || mprotect(p + page, slot_bytes, PROT_READ | PROT_WRITE))
            die("no memory for the buffers");
        slots[i].data = p + page;
    }
    close(zero);
}

/* alignment: of the case's place (element) or 64. skew: elements that a buffer in between starts off. */
static void *buffer(ck *c, size_t n, size_t element, size_t alignment, size_t skew)
{
    const size_t bytes = (n * element + alignment - 1) / alignment * alignment;

    if (slot_bytes == 0)
        map_slots();
    if (c->slots == SLOTS || bytes > slot_bytes - 2 * ZONE - 64)
        die("a check needs more or larger buffers than there are");
    slot *s = &slots[c->slots++];
    unsigned char *data = s->data;
    unsigned char *p = c->place == CK_AT_END     ? data + slot_bytes - bytes
                       : c->place == CK_AT_START ? data
                                                 : data + ZONE + skew * element;
    const size_t used = n * element, before = (size_t)(p - data), after = slot_bytes - before - used;
    memset(before < ZONE ? data : p - ZONE, CANARY, before < ZONE ? before : ZONE);
    memset(p + used, CANARY, after < ZONE ? after : ZONE);
    s->buffer = p;
    s->used = used;
    s->sealed = false;
    return p;
}

static bool canaries_hold(const slot *s)
{
    const unsigned char *p = s->buffer;
    const size_t used = s->used, before = (size_t)(p - s->data), after = slot_bytes - before - used;

    for (size_t i = 1; i <= (before < ZONE ? before : ZONE); i++)
        if (p[-(ptrdiff_t)i] != CANARY)
            return false;
    for (size_t i = 0; i < (after < ZONE ? after : ZONE); i++)
        if (p[used + i] != CANARY)
            return false;
    return true;
}

static uint64_t sum_of(const slot *s)
{
    uint64_t sum = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < s->used; i++)
        sum = (sum ^ s->buffer[i]) * 0x100000001b3u;
    return sum;
}

void ck_seal(ck *c)
{
    slot *s = &slots[c->slots - 1];

    s->sealed = true;
    s->sum = sum_of(s);
}

void ck_release(ck *c, size_t keep)
{
    for (size_t i = keep; i < c->slots; i++)
        if (!canaries_hold(&slots[i]))
            ck_differ(c, "memory around buffer %zu was written", i);
        else if (slots[i].sealed && slots[i].sum != sum_of(&slots[i]))
            ck_differ(c, "buffer %zu, an input, was written", i);
    c->slots = keep;
}

static float *floats(ck *c, size_t n, size_t skew)
{
    return buffer(c, n, sizeof(float), sizeof(float), skew);
}

const float *ck_in(ck *c, size_t n)
{
    float *p = floats(c, n, ck_below(c, 16));

    ck_set(c, p, n);
    ck_seal(c);
    return p;
}

const uint16_t *ck_in_halves(ck *c, size_t n)
{
    uint16_t *p = buffer(c, n, sizeof *p, sizeof *p, ck_below(c, 32));

    for (size_t i = 0; i < n; i++)
        p[i] = (uint16_t)ck_random(c);
    ck_seal(c);
    return p;
}

ck_floats ck_inout(ck *c, size_t n)
{
    const size_t skew = ck_below(c, 16);
    float *want = floats(c, n, skew);

    ck_set(c, want, n);
    float *got = floats(c, n, skew);
    memcpy(got, want, n * sizeof *got);
    return (ck_floats){want, got};
}

ck_floats ck_inout_abs(ck *c, size_t n)
{
    const ck_floats y = ck_inout(c, n);

    for (size_t i = 0; i < n; i++)
        y.want[i] = y.got[i] = fabsf(y.want[i]);
    return y;
}

ck_halves ck_out_halves(ck *c, size_t n)
{
    const size_t skew = ck_below(c, 32);
    uint16_t *want = buffer(c, n, sizeof *want, sizeof *want, skew);
    uint16_t *got = buffer(c, n, sizeof *got, sizeof *got, skew);

    memset(want, 0, n * sizeof *want);
    memset(got, 0, n * sizeof *got);
    return (ck_halves){want, got};
}

uint8_t *ck_bytes(ck *c, size_t n, size_t alignment)
{
    return buffer(c, n, 1, alignment, ck_below(c, 64) / alignment * alignment);
}

float *ck_aligned(ck *c, size_t n)
{
    return buffer(c, n, sizeof(float), 64, 0);
}

/* ---- comparison ---- */

void ck_differ(ck *c, const char *fmt, ...)
{
    static const char *const fills[] = {"noise", "logits", "wide", "subnormal", "zeros",
                                        "tiny",  "huge",   "one",  "special",   "bits"};
    static const char *const places[] = {"end", "start", "between"};
    va_list args;

    if (c->differences++ >= SHOWN)
        return;
    printf("%s_%s, n %zu, fill %s, place %s: ", c->name, c->level, c->n, fills[c->fill], places[c->place]);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static bool same(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

void ck_same_value(ck *c, const char *what, float want, float got)
{
    if (!same(want, got))
        ck_differ(c, "%s is %a (%08x), must be %a (%08x)", what, (double)got, (unsigned)bits_of(got), (double)want,
                  (unsigned)bits_of(want));
}

void ck_same(ck *c, const char *what, ck_floats y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same(y.want[i], y.got[i])) {
            ck_differ(c, "%s[%zu] is %a (%08x), must be %a (%08x)", what, i, (double)y.got[i],
                      (unsigned)bits_of(y.got[i]), (double)y.want[i], (unsigned)bits_of(y.want[i]));
            break;
        }
}

/* infinity: the format's; what lies above it, sign apart, is a NaN. */
void ck_same_halves(ck *c, const char *what, ck_halves y, size_t n, uint16_t infinity)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t want = y.want[i], got = y.got[i];
        if (want != got && ((want & 0x7fff) <= infinity || (got & 0x7fff) <= infinity)) {
            ck_differ(c, "%s[%zu] is %04x, must be %04x", what, i, got, want);
            break;
        }
    }
}
