/* safetensors: files as the Python library writes them, broken files, shards, and writing. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/numbers/half.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/safetensors_vector.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char buf[4][256];
    static unsigned next;
    char *out = buf[next++ % 4];

    snprintf(out, sizeof buf[0], "%s/%s", dir, name);
    return out;
}

static void put(const char *name, const void *data, size_t size)
{
    dm_error err = {0};
    CK_MSG(dm_file_write(in_dir(name), data, size, &err) == DM_OK, "%s", err.message);
}

/* A file with this header and `data` bytes after it, each 0x3C (F32 0x3C3C3C3C is a number). */
static void put_header(const char *name, const char *header, size_t data)
{
    dm_text t = {0};
    const size_t n = strlen(header);

    for (int i = 0; i < 8; i++)
        dm_text_print(&t, "%c", (int)(n >> 8 * i & 0xFF));
    dm_text_add(&t, header, n);
    for (size_t i = 0; i < data; i++)
        dm_text_add(&t, "\x3C", 1);
    put(name, t.data, t.size);
    dm_text_free(&t);
}

static void refused(const char *name, dm_status status, const char *message)
{
    dm_st *st;
    dm_error err = {0};
    const dm_status got = dm_st_open(&st, in_dir(name), &err);

    CK_MSG(got == status && st == NULL, "%s: status %d instead of %d (%s)", name, (int)got, (int)status, err.message);
    CK_MSG(strstr(err.message, message) != NULL, "%s\n  does not say: %s", err.message, message);
    CK_MSG(strstr(err.message, dir) != NULL, "%s\n  does not name the file", err.message);
    dm_st_close(&st);
}

static void check_vector(void)
{
    dm_st *st;
    dm_error err = {0};
    double d[8];
    float f[8];

    put("v.safetensors", safetensors_vector, SAFETENSORS_VECTOR);
    CK_MSG(dm_st_open(&st, in_dir("v.safetensors"), &err) == DM_OK, "%s", err.message);
    if (!st)
        return;
    CK(dm_st_count(st) == 10);
    CK(dm_st_metadata(st, "format") && strcmp(dm_st_metadata(st, "format"), "pt") == 0);
    CK(dm_st_metadata(st, "note") && strcmp(dm_st_metadata(st, "note"), "n\xC3\xA9") == 0);
    CK(dm_st_metadata(st, "none") == NULL && dm_st_find(st, "none") == NULL && dm_st_find(st, "__metadata__") == NULL);
    for (size_t i = 0; i < dm_st_count(st); i++) {
        CK(dm_st_find(st, dm_st_at(st, i)->name) == dm_st_at(st, i));
        CK(i == 0 || dm_st_at(st, i)->begin == dm_st_at(st, i - 1)->end);
    }
    const dm_st_tensor *a = dm_st_find(st, "a");
    CK(a && a->type == DM_F32 && a->dims == 2 && a->shape[0] == 1 && a->shape[1] == 3 && a->count == 3);
    CK(a && dm_st_read_f32(st, a, f, &err) == DM_OK && f[0] == 1.5f && f[1] == -2.0f && f[2] == 3.25f);

    static const struct {
        const char *name;
        double values[5];
        unsigned n;
        bool f32;
    } want[] = {
        {"a", {1.5, -2, 3.25}, 3, true},
        {"b", {1, -0.5, 65504, 0x1p-24, 0x1p-14}, 5, true},
        {"c", {1, -3.140625, 0x1.2cp126}, 3, true},
        {"d", {0.1}, 1, true},
        {"e", {-5, 1099511627776.0}, 2, false},
        {"f", {7, -8}, 2, false},
        {"g", {200}, 1, false},
        {"h", {2.5}, 1, true},
        {"i", {0}, 0, true},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const dm_st_tensor *t = dm_st_find(st, want[i].name);
        CK(t && t->count == want[i].n);
        if (!t || t->count != want[i].n)
            continue;
        CK(dm_st_read_f64(st, t, d, &err) == DM_OK);
        for (unsigned k = 0; k < want[i].n; k++)
            CK_MSG(d[k] == want[i].values[k], "%s[%u] = %.17g", want[i].name, k, d[k]);
        const dm_status s = dm_st_read_f32(st, t, f, &err);
        CK(s == (want[i].f32 ? DM_OK : DM_ERR_UNSUPPORTED));
        for (unsigned k = 0; k < want[i].n && s == DM_OK; k++)
            CK(f[k] == (float)want[i].values[k]);
    }
    const dm_st_tensor *j = dm_st_find(st, "j");
    CK(j && dm_st_read_f64(st, j, d, &err) == DM_ERR_UNSUPPORTED && strstr(err.message, "\"j\"") &&
       strstr(err.message, "I8"));
    dm_st_close(&st);
    CK(st == NULL);
    dm_st_close(&st);
}

/* Every byte of the header changed to each of a few values, and the file cut at every byte: an error or a good file. */
static void check_corruption(void)
{
    static const unsigned char values[] = {0,   ' ', '"', '{', '}', '[',  ']',  ',',
                                           ':', '0', '9', '-', 'x', 0x7F, 0x80, 0xFF};
    unsigned char copy[SAFETENSORS_VECTOR];
    size_t header = 8;
    float f[64];
    dm_error err;

    for (int i = 0; i < 8; i++)
        header += (size_t)safetensors_vector[i] << 8 * i;
    for (size_t i = 0; i < header; i++)
        for (size_t v = 0; v < sizeof values; v++) {
            memcpy(copy, safetensors_vector, SAFETENSORS_VECTOR);
            copy[i] = values[v];
            FILE *out = fopen(in_dir("c.safetensors"), "wb");
            CK(out && fwrite(copy, 1, sizeof copy, out) == sizeof copy && fclose(out) == 0);
            dm_st *st;
            const dm_status s = dm_st_open(&st, in_dir("c.safetensors"), &err);
            CK(s == DM_OK || (s == DM_ERR_INPUT && err.message[0]));
            for (size_t t = 0; st && t < dm_st_count(st); t++)
                if (dm_st_at(st, t)->count <= 64)
                    (void)dm_st_read_f32(st, dm_st_at(st, t), f, &err);
            dm_st_close(&st);
        }
    for (size_t n = 0; n < SAFETENSORS_VECTOR; n++) {
        FILE *out = fopen(in_dir("c.safetensors"), "wb");
        CK(out && fwrite(safetensors_vector, 1, n, out) == n && fclose(out) == 0);
        dm_st *st;
        CK_MSG(dm_st_open(&st, in_dir("c.safetensors"), &err) == DM_ERR_INPUT, "accepted a cut at %zu", n);
        dm_st_close(&st);
    }
}

#define T(name, dtype, shape, range)                                                                                   \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static void check_broken(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } bad[] = {
        {"", 0, ":1:1: expected a value"},
        {"[]", 0, "must be a JSON object"},
        {"{\"a\xFF\":1}", 0, ":1:4: invalid UTF-8"},
        {"not json", 0, ":1:1: expected a value"},
        {"{\"a\":{\"dtype\":\"F32\"", 0, "expected ',' or '}'"},
        {"{\"a\":1}", 0, "tensor \"a\" must be an object"},
        {"{\"\":"
         "{}}",
         0, "name must not be empty"},
        {"{\"a\\u0000b\":{}}", 0, "NUL"},
        {"{\"a\":{}}", 0, "\"dtype\" must be a string"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", 8, "duplicate key \"a\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "unknown key \"x\""},
        {"{" T("a", "F32", "[-1]", "[0,4]") "}", 4, "a size must be an integer"},
        {"{" T("a", "F32", "[1.5]", "[0,4]") "}", 4, "a size must be an integer"},
        {"{" T("a", "F32", "[4294967296,4294967296]", "[0,4]") "}", 4, "too large"},
        {"{" T("a", "F32", "[9223372036854775807]", "[0,4]") "}", 4, "too large"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "9 dimensions"},
        {"{" T("a", "F32", "1", "[0,4]") "}", 4, "\"shape\" must be an array"},
        {"{" T("a", "F32", "[1]", "[0]") "}", 4, "\"data_offsets\" must be [begin, end]"},
        {"{" T("a", "F32", "[1]", "[4,0]") "}", 4, "0 <= begin <= end"},
        {"{" T("a", "F32", "[1]", "[-4,0]") "}", 4, "0 <= begin <= end"},
        {"{" T("a", "F32", "[1]", "[0.0,4]") "}", 4, "0 <= begin <= end"},
        {"{" T("a", "F32", "[1]", "[0,\"4\"]") "}", 4, "0 <= begin <= end"},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 4, "ends at data byte 8, but the file has only 4"},
        {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, "2 elements of F32 take 8 bytes, data_offsets hold 4"},
        {"{" T("a", "F16", "[2]", "[0,8]") "}", 8, "2 elements of F16 take 4 bytes"},
        {"{" T("a", "F4", "[3]", "[0,1]") "}", 1, "3 elements of F4"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[4,12]") "}", 12,
         "\"a\" and \"b\" overlap at data byte 4"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}", 12,
         "data bytes 4 to 8 before tensor \"b\""},
        {"{" T("a", "F32", "[1]", "[4,8]") "}", 8, "data bytes 0 to 4 before tensor \"a\""},
        {"{" T("a", "F32", "[1]", "[0,4]") "}", 6, "the last 2 bytes belong to no tensor"},
        {"{\"__metadata__\":[]}", 0, "must be an object of strings"},
        {"{\"__metadata__\":{\"x\":1}}", 0, "\"x\" must be a string"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_header("b.safetensors", bad[i].header, bad[i].data);
        refused("b.safetensors", DM_ERR_INPUT, bad[i].message);
    }
    put("b.safetensors", "", 0);
    refused("b.safetensors", DM_ERR_INPUT, "0 bytes are too few");
    put("b.safetensors", "\7\0\0\0\0\0\0", 7);
    refused("b.safetensors", DM_ERR_INPUT, "7 bytes are too few");
    put("b.safetensors", "\3\0\0\0\0\0\0\0{}", 10);
    refused("b.safetensors", DM_ERR_INPUT, "header length 3 reaches past the end of the file (10 bytes)");
    put("b.safetensors", "\1\xE1\xF5\5\0\0\0\0{}", 10);
    refused("b.safetensors", DM_ERR_INPUT, "header length 100000001 is over the limit");
    put("b.safetensors", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
    refused("b.safetensors", DM_ERR_INPUT, "header length 18446744073709551615 is over the limit");
    refused("none.safetensors", DM_ERR_FILE, "cannot open");
    mkdir(in_dir("empty"), 0777);
    refused("empty", DM_ERR_FILE, "holds no model.safetensors and no model.safetensors.index.json");

    /* Unknown types matter only when such a tensor is read. */
    dm_st *st;
    dm_error err = {0};
    float f[1];
    put_header("b.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "," T("q", "Q7", "[9]", "[4,7]") "}  ", 7);
    CK_MSG(dm_st_open(&st, in_dir("b.safetensors"), &err) == DM_OK, "%s", err.message);
    CK(st && dm_st_read_f32(st, dm_st_find(st, "a"), f, &err) == DM_OK);
    CK(st && dm_st_read_f32(st, dm_st_find(st, "q"), f, &err) == DM_ERR_UNSUPPORTED && strstr(err.message, "type Q7"));
    dm_st_close(&st);
}

static void check_nonfinite(void)
{
    static const char header[] = "{" T("w.x", "F32", "[2,3]", "[0,24]") "}";
    static const struct {
        const char *bytes;
        const char *what;
    } cases[] = {{"\0\0\xC0\x7F", "NaN"}, {"\0\0\x80\xFF", "infinite"}};
    dm_st *st;
    dm_error err = {0};
    float f[6];
    double d[6];

    for (size_t i = 0; i < 2; i++) {
        put_header("n.safetensors", header, 24);
        FILE *file = fopen(in_dir("n.safetensors"), "r+b");
        CK(file && fseek(file, (long)(8 + strlen(header) + 16), SEEK_SET) == 0 &&
           fwrite(cases[i].bytes, 1, 4, file) == 4 && fclose(file) == 0);
        CK(dm_st_open(&st, in_dir("n.safetensors"), &err) == DM_OK);
        CK(st && dm_st_read_f32(st, dm_st_at(st, 0), f, &err) == DM_ERR_NONFINITE);
        CK_MSG(strstr(err.message, "tensor \"w.x\": element 4 of 6 is") && strstr(err.message, cases[i].what), "%s",
               err.message);
        CK(st && dm_st_read_f64(st, dm_st_at(st, 0), d, &err) == DM_ERR_NONFINITE);
        dm_st_close(&st);
    }
}

static void check_shards(void)
{
    dm_st *st;
    dm_error err = {0};
    float f[1];

    mkdir(in_dir("s"), 0777);
    put_header("s/1.safetensors", "{" T("b", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", 8);
    put_header("s/2.safetensors", "{" T("c", "F32", "[1]", "[0,4]") "}", 4);
    put_header("s/3.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "}", 4);
#define INDEX(text) put("s/model.safetensors.index.json", text, strlen(text))
    INDEX("{\"metadata\":{},\"weight_map\":{\"c\":\"2.safetensors\",\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}");
    for (int i = 0; i < 2; i++) {
        CK_MSG(dm_st_open(&st, in_dir(i ? "s/model.safetensors.index.json" : "s"), &err) == DM_OK, "%s", err.message);
        if (!st)
            return;
        CK(dm_st_count(st) == 3 && strcmp(dm_st_at(st, 0)->name, "c") == 0 && strcmp(dm_st_at(st, 1)->name, "b") == 0);
        CK(strcmp(dm_st_path(st, dm_st_find(st, "a")), in_dir("s/1.safetensors")) == 0);
        CK(dm_st_read_f32(st, dm_st_find(st, "c"), f, &err) == DM_OK);
        dm_st_close(&st);
    }
    INDEX("{\"weight_map\":{\"c\":\"4.safetensors\"}}");
    refused("s", DM_ERR_FILE, "4.safetensors: is missing, but");
    INDEX("{\"weight_map\":{\"c\":\"2.safetensors\",\"d\":\"2.safetensors\"}}");
    refused("s", DM_ERR_INPUT, "tensor \"d\" is not in");
    INDEX("{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\",\"c\":\"2.safetensors\"}}");
    refused("s", DM_ERR_INPUT, "tensor \"a\" is in");
    INDEX("{\"weight_map\":{\"b\":\"1.safetensors\"}}");
    refused("s", DM_ERR_INPUT, "tensor \"a\" of");
    INDEX("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\",\"c\":\"3.safetensors\"}}");
    refused("s", DM_ERR_INPUT, "tensor \"a\" is in two files");
    INDEX("{\"weight_map\":{\"c\":\"../2.safetensors\"}}");
    refused("s", DM_ERR_INPUT, "must be a plain file name");
    INDEX("{\"weight_map\":{\"c\":\"..\"}}");
    refused("s", DM_ERR_INPUT, "must be a plain file name");
    INDEX("{\"weight_map\":{\"c\":1}}");
    refused("s", DM_ERR_INPUT, "must be the name of a safetensors file");
    INDEX("{\"weight_map\":{}}");
    refused("s", DM_ERR_INPUT, "\"weight_map\" must be an object");
    INDEX("{}");
    refused("s", DM_ERR_INPUT, "\"weight_map\" must be an object");
    INDEX("{\"weight_map\":{\"c\":\"2.safetensors\"}");
    refused("s", DM_ERR_INPUT, "model.safetensors.index.json:1:36: expected ',' or '}'");
}

static void check_writing(void)
{
    static const float a[6] = {1.0f, -0.0f, 1.00390625f, 1.01171875f, 65519.0f, 0x1p-24f};
    static const float scalar[1] = {-7.25f};
    const dm_st_out out[] = {
        {"half", DM_F16, 1, {5}, a},        {"brain", DM_BF16, 2, {2, 3}, a},  {"full \"\\\n", DM_F32, 2, {3, 2}, a},
        {"scalar", DM_F32, 0, {0}, scalar}, {"none", DM_F16, 2, {0, 3}, NULL},
    };
    static const char *const metadata[][2] = {{"engine", "dmpo"}, {"quote", "\"x\""}};
    char hex[DM_SHA256_HEX], again[DM_SHA256_HEX], file_hex[DM_SHA256_HEX];
    dm_st *st;
    dm_error err = {0};
    float f[6];

    CK_MSG(dm_st_write(in_dir("w.safetensors"), out, 5, metadata, 2, hex, &err) == DM_OK, "%s", err.message);
    CK(dm_file_sha256(in_dir("w.safetensors"), file_hex, &err) == DM_OK && strcmp(hex, file_hex) == 0);
    CK(dm_st_write(in_dir("w2.safetensors"), out, 5, metadata, 2, again, &err) == DM_OK && strcmp(hex, again) == 0);
    CK_MSG(dm_st_open(&st, in_dir("w.safetensors"), &err) == DM_OK, "%s", err.message);
    if (!st)
        return;
    CK(dm_st_count(st) == 5 && dm_st_at(st, 0)->begin % 8 == 0 && strcmp(dm_st_metadata(st, "quote"), "\"x\"") == 0);
    for (size_t i = 0; i < 5; i++) {
        const dm_st_tensor *t = dm_st_find(st, out[i].name);
        CK(t && t->type == out[i].type && t->dims == out[i].dims && t->begin % dm_dtype_size(t->type) == 0);
        CK(t && memcmp(t->shape, out[i].shape, t->dims * sizeof *t->shape) == 0);
    }
    CK(dm_st_read_f32(st, dm_st_find(st, "full \"\\\n"), f, &err) == DM_OK && memcmp(f, a, sizeof a) == 0);
    CK(dm_st_read_f32(st, dm_st_find(st, "scalar"), f, &err) == DM_OK && f[0] == -7.25f);
    /* Ties to even: 1 + 1/256 and 1 + 3/256 lie between two bfloat16. */
    CK(dm_st_read_f32(st, dm_st_find(st, "brain"), f, &err) == DM_OK);
    CK(f[0] == 1 && f[1] == 0 && signbit(f[1]) && f[2] == 1.0f && f[3] == 1.015625f && f[4] == 65536.0f &&
       f[5] == 0x1p-24f);
    CK(dm_st_read_f32(st, dm_st_find(st, "half"), f, &err) == DM_OK && f[2] == 1.00390625f && f[4] == 65504.0f);
    dm_st_close(&st);

    /* Failures leave no file and no temporary one. */
    static const float bad[3] = {1, NAN, 70000.0f};
    dm_st_out one = {"bad", DM_F32, 1, {3}, bad};
    mkdir(in_dir("out"), 0777);
    CK(dm_st_write(in_dir("out/x"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_NONFINITE);
    CK_MSG(strstr(err.message, "tensor \"bad\": element 1 (nan) is not finite as F32") != NULL, "%s", err.message);
    one.data = bad + 2;
    one.shape[0] = 1;
    one.type = DM_F16;
    CK(dm_st_write(in_dir("out/x"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_NONFINITE && strstr(err.message, "70000"));
    one.type = DM_BF16;
    one.dims = 2;
    one.shape[1] = UINT64_MAX;
    CK(dm_st_write(in_dir("out/x"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_ARGUMENT);
    one.dims = 1;
    mkdir(in_dir("out/taken"), 0777);
    CK(dm_st_write(in_dir("out/taken"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_FILE &&
       strstr(err.message, "out/taken"));
    CK(rmdir(in_dir("out/taken")) == 0);
    CK_MSG(rmdir(in_dir("out")) == 0, "something was left behind");
    CK(dm_st_write(in_dir("out/x"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_FILE &&
       strstr(err.message, "cannot create"));
    char link[300]; /* what stands where the temporary file would is not written through */
    snprintf(link, sizeof link, "%s.tmp-dmpo", in_dir("full"));
    CK(symlink("victim", link) == 0);
    CK(dm_st_write(in_dir("full"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_FILE && access(in_dir("victim"), F_OK) != 0);
    CK(unlink(link) == 0);
    struct rlimit old, small; /* as on a full disk */
    CK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = old;
    small.rlim_cur = 16;
    signal(SIGXFSZ, SIG_IGN);
    CK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CK(dm_st_write(in_dir("full"), &one, 1, NULL, 0, NULL, &err) == DM_ERR_FILE && strstr(err.message, "cannot write"));
    CK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CK_MSG(access(link, F_OK) != 0 && access(in_dir("full"), F_OK) != 0, "something was left behind");
}

/* Expectations by IEEE 754 by hand; all 65536 values go there and back. */
static void check_half(void)
{
    for (unsigned i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        const float f = dm_f16_to_float(h), b = dm_bf16_to_float(h);
        if (isnan(f))
            CK(isnan(dm_f16_to_float(dm_float_to_f16(f))));
        else
            CK(dm_float_to_f16(f) == h);
        if (isnan(b))
            CK(isnan(dm_bf16_to_float(dm_float_to_bf16(b))));
        else
            CK(dm_float_to_bf16(b) == h);
    }
    static const struct {
        float x;
        uint16_t h;
    } f16[] = {{65519.996f, 0x7BFF},     {65520.0f, 0x7C00},       {0x1p-25f, 0},
               {0x1.000002p-25f, 1},     {0x1.8p-24f, 2},          {-0x1p-26f, 0x8000},
               {1.00048828125f, 0x3C00}, {1.00146484375f, 0x3C02}, {0x1.ffep-15f, 0x0400},
               {INFINITY, 0x7C00}};
    for (size_t i = 0; i < sizeof f16 / sizeof *f16; i++)
        CK_MSG(dm_float_to_f16(f16[i].x) == f16[i].h, "%a: %04x", (double)f16[i].x,
               (unsigned)dm_float_to_f16(f16[i].x));
}

int main(void)
{
    dm_error err;

    snprintf(dir, sizeof dir, "/tmp/dm-test-st-%ld", (long)getpid());
    mkdir(dir, 0777);
    check_half();
    check_vector();
    check_corruption();
    check_broken();
    check_nonfinite();
    check_shards();
    check_writing();
    CK(dm_dir_remove(dir, &err) == DM_OK);
    return ck_done("safetensors");
}
