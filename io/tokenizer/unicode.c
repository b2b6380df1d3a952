#include "io/tokenizer/unicode.h"

#include <stdlib.h>

#include "io/tokenizer/unicode_tables.h"
#include "core/utf8.h"

size_t dm_utf8_decode(const char *s, size_t n, uint32_t *code)
{
    if (n == 0)
        return 0;
    const unsigned char *u = (const unsigned char *)s;
    const size_t size = dm_utf8_length(u, u + n);
    if (size == 0)
        return 0;
    uint32_t c = size == 1 ? u[0] : u[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++)
        c = c << 6 | (u[i] & 0x3Fu);
    *code = c;
    return size;
}

size_t dm_utf8_check(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t code;
        const size_t size = dm_utf8_decode(s + i, n - i, &code);
        if (size == 0)
            break;
        i += size;
    }
    return i;
}

static bool in_ranges(const dm_code_range *r, size_t n, uint32_t code)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (code > r[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && code >= r[low].first;
}

static bool is_ascii_letter(uint32_t code)
{
    return (code | 0x20) - 'a' < 26;
}

bool dm_is_letter(uint32_t code)
{
    return code < 0x80 ? is_ascii_letter(code) : in_ranges(dm_letters, dm_letters_count, code);
}

bool dm_is_number(uint32_t code)
{
    return code < 0x80 ? code - '0' < 10 : in_ranges(dm_numbers, dm_numbers_count, code);
}

bool dm_is_space(uint32_t code)
{
    return code < 0x80 ? code == ' ' || code - '\t' < 5 : in_ranges(dm_spaces, dm_spaces_count, code);
}

bool dm_is_word(uint32_t code)
{
    return in_ranges(dm_words, dm_words_count, code);
}

bool dm_is_digit(uint32_t code)
{
    return code < 0x80 ? code - '0' < 10 : in_ranges(dm_digits, dm_digits_count, code);
}

/* ---- normalization form C ---- */

/* A character on its way through normalization is one sortable number, combining class | position | code, so that
 * sorting a run of marks is the stable sort by class that canonical order asks for, in n log n whatever the run. */
#define CODE_BITS 21
#define CLASS_SHIFT 56
#define POSITIONS ((uint64_t)1 << (CLASS_SHIFT - CODE_BITS))

typedef struct marks {
    uint64_t *data;
    size_t size;
} marks;

enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, L_COUNT = 19, V_COUNT = 21, T_COUNT = 28 };

static uint32_t combining_class(uint32_t code)
{
    size_t low = 0, high = dm_combining_count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (code > dm_combining[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < dm_combining_count && code >= dm_combining[low].first ? dm_combining[low].combining_class : 0;
}

static const dm_decomposition *find_decomposition(uint32_t code)
{
    size_t low = 0, high = dm_decompositions_count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (code > dm_decompositions[mid].code)
            low = mid + 1;
        else
            high = mid;
    }
    return low < dm_decompositions_count && dm_decompositions[low].code == code ? &dm_decompositions[low] : NULL;
}

/* The character that first and second compose to, or 0. */
static uint32_t compose(uint32_t first, uint32_t second)
{
    if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
    if (first - S_BASE < L_COUNT * V_COUNT * T_COUNT && (first - S_BASE) % T_COUNT == 0 &&
        second - (T_BASE + 1) < T_COUNT - 1)
        return first + (second - T_BASE);
    const uint64_t key = (uint64_t)first << 32 | second;
    size_t low = 0, high = dm_compositions_count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const dm_decomposition *d = &dm_decompositions[dm_compositions[mid]];
        const uint64_t pair = (uint64_t)d->first << 32 | d->second;
        if (pair == key)
            return d->code;
        if (key > pair)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

/* Appends the full canonical decomposition of `code`; there is room (at most four characters come of one). */
static void decompose(marks *m, uint32_t code)
{
    const dm_decomposition *d = find_decomposition(code);
    if (d != NULL) {
        decompose(m, d->first);
        if (d->second != 0)
            decompose(m, d->second);
        return;
    }
    uint32_t parts[3] = {code, 0, 0};
    size_t n = 1;
    if (code - S_BASE < L_COUNT * V_COUNT * T_COUNT) {
        const uint32_t s = code - S_BASE, t = s % T_COUNT;
        parts[0] = L_BASE + s / (V_COUNT * T_COUNT);
        parts[1] = V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT;
        parts[2] = T_BASE + t;
        n = t != 0 ? 3 : 2;
    }
    for (size_t i = 0; i < n; i++) {
        m->data[m->size] =
            (uint64_t)combining_class(parts[i]) << CLASS_SHIFT | (uint64_t)m->size << CODE_BITS | parts[i];
        m->size++;
    }
}

static uint32_t mark_code(uint64_t m)
{
    return (uint32_t)(m & ((1u << CODE_BITS) - 1));
}

static uint32_t mark_class(uint64_t m)
{
    return (uint32_t)(m >> CLASS_SHIFT);
}

static int compare_marks(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void order_canonically(marks *m)
{
    for (size_t i = 0; i < m->size;) {
        size_t end = i + 1;
        if (mark_class(m->data[i]) != 0) {
            while (end < m->size && mark_class(m->data[end]) != 0)
                end++;
            if (end - i > 1)
                qsort(m->data + i, end - i, sizeof *m->data, compare_marks);
        }
        i = end;
    }
}

static void compose_all(marks *m)
{
    size_t n = 0, starter = SIZE_MAX; /* of m->data[0..n), composed in place */
    for (size_t i = 0; i < m->size; i++) {
        const uint64_t c = m->data[i];
        /* a character reaches back to the starter unless one of the same or a higher class stands between */
        if (starter != SIZE_MAX && (n == starter + 1 || mark_class(m->data[n - 1]) < mark_class(c))) {
            const uint32_t whole = compose(mark_code(m->data[starter]), mark_code(c));
            if (whole != 0) {
                m->data[starter] = whole;
                continue;
            }
        }
        if (mark_class(c) == 0)
            starter = n;
        m->data[n++] = c;
    }
    m->size = n;
}

dm_status dm_nfc(const char *text, size_t size, char **out, size_t *out_size, dm_error *err)
{
    *out = NULL;
    *out_size = 0;
    uint64_t count = 0; /* of characters */
    size_t i = 0;
    bool plain = true; /* everything below U+0300 is normal by itself */
    while (i < size) {
        uint32_t code = 0;
        const size_t step = dm_utf8_decode(text + i, size - i, &code);
        if (step == 0)
            return dm_fail(err, DM_ERR_INPUT, "byte %zu of the text is not valid UTF-8", i);
        plain = plain && code < 0x300;
        i += step;
        count++;
    }
    if (plain)
        return DM_OK;
    if (count >= POSITIONS / 4 || count > SIZE_MAX / (4 * sizeof(uint64_t)))
        return dm_fail(err, DM_ERR_MEMORY, "a text of %zu bytes is too long to normalize", size);
    marks m = {malloc((size_t)count * 4 * sizeof *m.data), 0};
    if (m.data == NULL)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to normalize a text of %zu bytes", size);
    for (i = 0; i < size;) {
        uint32_t code = 0;
        i += dm_utf8_decode(text + i, size - i, &code);
        decompose(&m, code);
    }
    order_canonically(&m);
    compose_all(&m);
    unsigned char *bytes = malloc(4 * m.size);
    if (bytes == NULL) {
        free(m.data);
        return dm_fail(err, DM_ERR_MEMORY, "no memory to normalize a text of %zu bytes", size);
    }
    size_t used = 0;
    for (i = 0; i < m.size; i++)
        used += dm_utf8_put(bytes + used, mark_code(m.data[i]));
    free(m.data);
    *out = (char *)bytes;
    *out_size = used;
    return DM_OK;
}
