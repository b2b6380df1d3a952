/* GGUF files: what is read, and every field of the header broken in turn. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/gguf.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/gguf_tool.h"

static char path[80];

/* Every kind of value, and tensors of three types. */
static void make(gguf_file *f, uint32_t version)
{
    static const unsigned char q8[34] = {0x00, 0x3C, 1, 2, 0xFF};
    float data[16 + 32];

    g_begin(f, version, 4, 16);
    g_string(f, "general.architecture", "llama");
    g_u32(f, "general.alignment", 32);
    g_key(f, "a.u8", K_U8), g_number(f, F_OTHER, 200, 1);
    g_key(f, "a.i8", K_I8), g_number(f, F_OTHER, 0xFE, 1);
    g_key(f, "a.u16", K_U16), g_number(f, F_OTHER, 60000, 2);
    g_key(f, "a.i16", K_I16), g_number(f, F_OTHER, 0xFFFD, 2);
    g_key(f, "a.i32", K_I32), g_number(f, F_OTHER, 0xFFFFFFFC, 4);
    g_f32(f, "a.f32", 1.5f);
    g_key(f, "a.bool", K_BOOL), g_number(f, F_OTHER, 1, 1);
    g_key(f, "a.u64", K_U64), g_number(f, F_OTHER, UINT64_MAX, 8);
    g_key(f, "a.i64", K_I64), g_number(f, F_OTHER, (uint64_t)-5, 8);
    g_key(f, "a.f64", K_F64), g_number(f, F_OTHER, 0x3FD5555555555555, 8); /* 1/3 */
    g_array(f, "l.strings", K_STRING, 3), g_text(f, "one"), g_text(f, ""), g_text(f, "\xC3\xA9");
    g_array(f, "l.ints", K_I16, 2), g_number(f, F_OTHER, 7, 2), g_number(f, F_OTHER, 0xFFFF, 2);
    g_array(f, "l.floats", K_F32, 1), g_number(f, F_OTHER, 0x3F800000, 4);
    g_array(f, "l.lists", K_ARRAY, 2);
    g_number(f, F_KIND, K_U8, 4), g_number(f, F_LENGTH, 1, 8), g_number(f, F_OTHER, 9, 1);
    g_number(f, F_KIND, K_STRING, 4), g_number(f, F_LENGTH, 1, 8), g_text(f, "deep");
    g_tensor(f, "x", 0, 16, T_F32, 64);
    g_tensor(f, "q", 1, 32, T_Q8_0, 34);
    g_tensor(f, "half", 2, 3, T_F16, 12);
    g_tensor(f, "last", 2, 16, T_F32, 128);
    for (int i = 0; i < 48; i++)
        data[i] = (float)i / 4;
    g_data(f, data, 64);
    dm_text_add(&f->bytes, (const char *)q8, sizeof q8);
    for (int i = 34; i < 64; i++)
        dm_text_add(&f->bytes, "", 1);
    for (int i = 0; i < 32; i++)
        dm_text_add(&f->bytes, "\x3C", 1);
    dm_text_add(&f->bytes, (const char *)(data + 16), 128);
    CK(f->data == 64 + 64 + 32 + 128 && !f->bytes.failed);
}

/* One line that names the file. */
static void check_line(const char *what, const dm_error *err)
{
    CK_MSG(strstr(err->message, path) == err->message && strchr(err->message, '\n') == NULL &&
               strlen(err->message) < 900,
           "%s: the message is \"%s\"", what, err->message);
}

static void refused(const char *what, const char *bytes, size_t size, const char *text)
{
    dm_gguf *g = NULL;
    dm_error err = {0};

    g_put(path, bytes, size);
    const dm_status s = dm_gguf_open(&g, path, &err);
    CK_MSG((s == DM_ERR_INPUT || s == DM_ERR_UNSUPPORTED) && g == NULL, "%s: status %d (%s)", what, (int)s,
           err.message);
    if (s != DM_OK) {
        check_line(what, &err);
        CK_MSG(strstr(err.message, text) != NULL, "%s: \"%s\" does not say \"%s\"", what, err.message, text);
    }
    dm_gguf_close(&g);
}

/* ---- what is read ---- */

static void check_numbers(const dm_gguf *g)
{
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"a.u8", 200}, {"a.i8", -2},  {"a.u16", 60000},         {"a.i16", -3},
                {"a.i32", -4}, {"a.i64", -5}, {"general.alignment", 32}};
    dm_error err = {0};
    int64_t i = 0;
    double d = 0;
    bool b = false;

    for (size_t k = 0; k < sizeof ints / sizeof *ints; k++) {
        CK_MSG(dm_gguf_i64(g, ints[k].key, &i, &err) == DM_OK && i == ints[k].value, "%s: %lld", ints[k].key,
               (long long)i);
        CK(dm_gguf_f64(g, ints[k].key, &d, &err) == DM_OK && (int64_t)d == ints[k].value);
    }
    CK(dm_gguf_f64(g, "a.f32", &d, &err) == DM_OK && d >= 1.5 && d <= 1.5);
    CK(dm_gguf_f64(g, "a.f64", &d, &err) == DM_OK && d >= 1.0 / 3 && d <= 1.0 / 3);
    CK(dm_gguf_bool(g, "a.bool", &b, &err) == DM_OK && b);
    CK(dm_gguf_i64(g, "a.u64", &i, &err) == DM_ERR_INPUT && strstr(err.message, "2^63"));
    check_line("u64", &err);
    CK(dm_gguf_i64(g, "a.f32", &i, &err) == DM_ERR_INPUT && strstr(err.message, "\"a.f32\" is of kind f32"));
    CK(dm_gguf_i64(g, "none", &i, &err) == DM_ERR_INPUT && strstr(err.message, "\"none\" is missing"));
    CK(dm_gguf_bool(g, "a.u8", &b, &err) == DM_ERR_INPUT && dm_gguf_f64(g, "a.bool", &d, &err) == DM_ERR_INPUT);
    CK(dm_gguf_i64(g, "l.ints", &i, &err) == DM_ERR_INPUT && strstr(err.message, "an array of i16"));
    CK(dm_gguf_has(g, "a.u8") && !dm_gguf_has(g, "a.u"));
}

static void check_arrays(const dm_gguf *g)
{
    dm_error err = {0};
    const char *text = NULL;
    dm_gguf_text *texts;
    float *floats;
    int32_t *ints;
    size_t n;

    CK(dm_gguf_string(g, "general.architecture", &text, &err) == DM_OK && strcmp(text, "llama") == 0);
    CK(dm_gguf_string(g, "a.u8", &text, &err) == DM_ERR_INPUT);
    if (CK(dm_gguf_texts(g, "l.strings", &texts, &n, &err) == DM_OK && n == 3))
        CK(texts[0].size == 3 && memcmp(texts[0].data, "one", 3) == 0 && texts[1].size == 0 && texts[2].size == 2);
    free(texts);
    if (CK(dm_gguf_ints(g, "l.ints", &ints, &n, &err) == DM_OK && n == 2))
        CK(ints[0] == 7 && ints[1] == -1);
    free(ints);
    if (CK(dm_gguf_floats(g, "l.floats", &floats, &n, &err) == DM_OK && n == 1))
        CK(floats[0] >= 1 && floats[0] <= 1);
    free(floats);
    CK(dm_gguf_texts(g, "l.ints", &texts, &n, &err) == DM_ERR_INPUT && texts == NULL);
    CK(dm_gguf_ints(g, "l.lists", &ints, &n, &err) == DM_ERR_INPUT && ints == NULL);
    CK(dm_gguf_floats(g, "a.f32", &floats, &n, &err) == DM_ERR_INPUT && floats == NULL);
}

static void check_tensors(const dm_gguf *g)
{
    const dm_gguf_tensor *x = dm_gguf_find(g, "x"), *q = dm_gguf_find(g, "q"), *h = dm_gguf_find(g, "half"),
                         *last = dm_gguf_find(g, "last");

    CK(dm_gguf_count(g) == 4 && dm_gguf_find(g, "y") == NULL && dm_gguf_find(g, "") == NULL);
    if (!CK(x && q && h && last))
        return;
    CK(dm_gguf_at(g, 0) == x && x->dims == 1 && x->shape[0] == 16 && x->count == 16 && x->size == 64);
    CK(q->type == DM_Q8_0 && strcmp(q->type_name, "Q8_0") == 0 && q->size == 34 && q->dims == 2);
    CK(h->type == DM_F16 && h->shape[0] == 3 && h->shape[1] == 2 && h->size == 12);
    unsigned char byte[2];
    float value;
    dm_error err = {0};
    CK(dm_input_read(q->in, &byte[0], 1, q->offset + 2, &err) == DM_OK && byte[0] == 1);
    CK(dm_input_read(h->in, &byte[1], 1, h->offset, &err) == DM_OK && byte[1] == 0x3C);
    CK(dm_input_read(last->in, &value, sizeof value, last->offset + 4, &err) == DM_OK);
    CK(value >= 4.25f && value <= 4.25f);
}

static void check_good(uint32_t version)
{
    gguf_file f;
    dm_gguf *g;
    dm_error err = {0};

    make(&f, version);
    g_put(path, f.bytes.data, f.bytes.size);
    if (CK_MSG(dm_gguf_open(&g, path, &err) == DM_OK, "%s", err.message)) {
        CK(strcmp(dm_gguf_path(g), path) == 0);
        check_numbers(g);
        check_arrays(g);
        check_tensors(g);
    }
    dm_gguf_close(&g);
    dm_gguf_close(&g);
    g_free(&f);
}

/* ---- what is broken ---- */

/* Counts, lengths, kinds, dimensions and offsets of values that cannot be. */
static void check_fields(void)
{
    static const uint64_t large[] = {UINT64_MAX,        (uint64_t)1 << 63, ((uint64_t)1 << 63) - 1, (uint64_t)1 << 62,
                                     (uint64_t)1 << 61, (uint64_t)1 << 32, UINT64_MAX - 7,          1000};
    gguf_file f;

    make(&f, 3);
    char *bytes = malloc(f.bytes.size);
    for (size_t i = 0; bytes && i < f.n_fields; i++) {
        const field *at = &f.fields[i];
        char what[64];
        snprintf(what, sizeof what, "field %zu at byte %zu", i, at->at);
        memcpy(bytes, f.bytes.data, f.bytes.size);
        if (at->kind == F_COUNT || at->kind == F_LENGTH || at->kind == F_SHAPE || at->kind == F_OFFSET)
            for (size_t k = 0; k < sizeof large / sizeof *large; k++) {
                g_set(bytes, at, large[k]);
                refused(what, bytes, f.bytes.size, "");
            }
        if (at->kind == F_KIND || at->kind == F_DIMS)
            for (uint32_t k = at->kind == F_DIMS ? 5 : 13; k; k = k == 255 ? 0x80000000 : k < 255 ? 255 : 0) {
                g_set(bytes, at, k);
                refused(what, bytes, f.bytes.size, at->kind == F_DIMS ? "dimensions" : "not a kind of value");
            }
        if (at->kind == F_DIMS) {
            g_set(bytes, at, 0);
            refused(what, bytes, f.bytes.size, "0 dimensions");
        }
        if (at->kind == F_OFFSET) {
            g_set(bytes, at, 1);
            refused(what, bytes, f.bytes.size, "alignment");
            g_set(bytes, at, g_get(f.bytes.data, at) ? 0 : 64); /* over the first, or over the second */
            refused(what, bytes, f.bytes.size, "overlap");
        }
    }
    free(bytes);
    g_free(&f);
}

static void check_cut(void)
{
    gguf_file f;

    make(&f, 2);
    for (size_t n = 0; n < f.bytes.size; n++)
        refused("cut", f.bytes.data, n, "");
    g_free(&f);
}

/* Replaces text in the header by text of the same length. */
static void renamed(const char *from, const char *to, const char *says)
{
    gguf_file f;

    make(&f, 3);
    for (size_t i = 0; i + strlen(from) <= f.bytes.size; i++)
        if (memcmp(f.bytes.data + i, from, strlen(from)) == 0) {
            memcpy(f.bytes.data + i, to, strlen(from));
            break;
        }
    refused(to, f.bytes.data, f.bytes.size, says);
    g_free(&f);
}

static void set_and_refuse(size_t at, size_t size, uint64_t value, const char *says)
{
    gguf_file f;
    const field where = {F_OTHER, at, size};

    make(&f, 3);
    g_set(f.bytes.data, &where, value);
    refused(says, f.bytes.data, f.bytes.size, says);
    g_free(&f);
}

static size_t find_text(const char *text)
{
    gguf_file f;
    size_t at = 0;

    make(&f, 3);
    while (memcmp(f.bytes.data + at, text, strlen(text)) != 0)
        at++;
    g_free(&f);
    return at;
}

static void check_content(void)
{
    const size_t alignment = find_text("general.alignment") + strlen("general.alignment") + 4;

    set_and_refuse(0, 4, 0x47475546, "does not begin with");
    set_and_refuse(4, 4, 1, "version 1 is not supported");
    set_and_refuse(4, 4, 4, "version 4 is not supported");
    set_and_refuse(4, 4, 0x03000000, "big-endian");
    renamed("a.u8", "a.i8", "key \"a.i8\" occurs twice");
    renamed("half", "last", "tensor \"last\" occurs twice");
    renamed("a.u16", "a.\0u6", "a name with a NUL");
    set_and_refuse(alignment, 4, 0, "power of two");
    set_and_refuse(alignment, 4, 48, "power of two");
    set_and_refuse(alignment, 4, 0x80000000, "power of two");
    set_and_refuse(alignment, 4, 1 << 20, "before the tensors' data");
    set_and_refuse(alignment - 4, 4, K_F32, "must be an integer");
    set_and_refuse(find_text("a.u8") - 8, 8, 0, "an empty name");
    refused("empty", "", 0, "less than a GGUF header");
}

/* Rows that are no whole blocks; a product over 2^63; arrays in arrays in arrays. */
static void check_shapes(void)
{
    gguf_file f;

    g_begin(&f, 3, 1, 0);
    g_tensor(&f, "q", 1, 33, T_Q8_0, 36);
    g_data(&f, "", 0);
    refused("blocks", f.bytes.data, f.bytes.size, "not a multiple of Q8_0's blocks of 32");
    g_free(&f);
    g_begin(&f, 3, 1, 0);
    g_tensor(&f, "q", (uint64_t)1 << 32, (uint64_t)1 << 32, T_F32, 0);
    g_data(&f, "", 0);
    refused("product", f.bytes.data, f.bytes.size, "over 2^63");
    g_free(&f);
    g_begin(&f, 3, 1, 0);
    g_tensor(&f, "q", (uint64_t)1 << 31, (uint64_t)1 << 31, T_F32, 0);
    g_data(&f, "", 0);
    refused("bytes", f.bytes.data, f.bytes.size, "more than a file holds");
    g_free(&f);
    g_begin(&f, 3, 0, 1);
    g_array(&f, "deep", K_ARRAY, 1);
    for (int i = 0; i < 100; i++)
        g_number(&f, F_KIND, K_ARRAY, 4), g_number(&f, F_LENGTH, 1, 8);
    refused("nesting", f.bytes.data, f.bytes.size, "too deep");
    g_free(&f);
}

/* Known by name or not at all, such a tensor is listed, and its data belongs to no tensor. */
static void check_unknown_types(void)
{
    static const struct {
        uint32_t number;
        const char *name;
    } types[] = {{T_IQ2_XS, "IQ2_XS"}, {77, "type 77"}, {UINT32_MAX, "type 4294967295"}, {4, "type 4"}};

    static const char zeros[74];

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        gguf_file f;
        dm_gguf *g;
        dm_error err = {0};
        g_begin(&f, 3, 1, 0);
        g_tensor(&f, "t", 1, 256, types[i].number, 74);
        g_data(&f, zeros, 74);
        g_put(path, f.bytes.data, f.bytes.size);
        if (CK_MSG(dm_gguf_open(&g, path, &err) == DM_OK, "%s", err.message)) {
            const dm_gguf_tensor *t = dm_gguf_at(g, 0);
            CK(t->type == DM_DTYPE_COUNT && strcmp(t->type_name, types[i].name) == 0);
        }
        dm_gguf_close(&g);
        g_free(&f);
    }
}

/* Strings are checked when they are asked for. */
static void check_strings(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {{"ab\0c", 4, "byte 2 of the string is NUL"}, {"a\xFF", 2, "byte 1 of the string is not valid UTF-8"}};

    for (size_t i = 0; i < 2; i++) {
        gguf_file f;
        dm_gguf *g;
        dm_error err = {0};
        const char *text;
        bool b;
        g_begin(&f, 3, 0, 2);
        g_key(&f, "k", K_STRING), g_number(&f, F_LENGTH, cases[i].size, 8);
        dm_text_add(&f.bytes, cases[i].bytes, cases[i].size);
        g_key(&f, "b", K_BOOL), g_number(&f, F_OTHER, 2, 1);
        g_put(path, f.bytes.data, f.bytes.size);
        if (CK_MSG(dm_gguf_open(&g, path, &err) == DM_OK, "%s", err.message)) {
            CK(dm_gguf_string(g, "k", &text, &err) == DM_ERR_INPUT && strstr(err.message, cases[i].says));
            CK(dm_gguf_bool(g, "b", &b, &err) == DM_ERR_INPUT && strstr(err.message, "must be 0 or 1"));
        }
        dm_gguf_close(&g);
        g_free(&f);
    }
}

/* Any byte of the header may be anything: no crash, and a refusal is one line. */
static void check_bytes(void)
{
    gguf_file f;
    unsigned long opened = 0;
    const int step = getenv("DMPO_TEST_FAST") ? 37 : 5;

    make(&f, 3);
    g_put(path, f.bytes.data, f.bytes.size);
    const int fd = open(path, O_WRONLY);
    for (size_t i = 0; i < f.bytes.size; i++) {
        for (int x = 0; x < 256; x += step) {
            const unsigned char byte = (unsigned char)x;
            dm_gguf *g;
            dm_error err = {0};
            CK(pwrite(fd, &byte, 1, (off_t)i) == 1);
            if (dm_gguf_open(&g, path, &err) == DM_OK)
                opened++;
            else
                check_line("byte", &err);
            dm_gguf_close(&g);
        }
        CK(pwrite(fd, f.bytes.data + i, 1, (off_t)i) == 1);
    }
    close(fd);
    CK(opened > 0);
    g_free(&f);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/dm-gguf-%ld.gguf", (long)getpid());
    check_good(3);
    check_good(2);
    check_fields();
    check_cut();
    check_content();
    check_shapes();
    check_unknown_types();
    check_strings();
    check_bytes();
    dm_gguf *g;
    dm_error err = {0};
    CK(dm_gguf_open(&g, "/nonexistent/x.gguf", &err) == DM_ERR_FILE && dm_gguf_open(&g, "/tmp", &err) == DM_ERR_FILE);
    unlink(path);
    return ck_done("gguf");
}
