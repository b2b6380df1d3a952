/* Time in proportion to the size of what comes from outside, whatever is in it: each case is a shape that some simple
 * reader takes quadratic time for. Eight times the size takes less than 24 times the processor's time (a quadratic one
 * takes 64 times). And memory: what a document takes for each of its bytes is bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/system.h"
#include "io/gguf.h"
#include "io/jinja/jinja.h"
#include "io/json.h"
#include "io/json_writer.h"
#include "io/safetensors.h"
#include "io/tokenizer/tokenizer.h"
#include "tests/support/check.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(const char *path, const dm_text *t)
{
    dm_error err;
    CK_MSG(!t->failed && dm_file_write(path, t->data, t->size, &err) == DM_OK, "%s", err.message);
}

static double seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- the cases: each makes its input of size n, then returns the time that reading it took ---- */

#define BYTES                                                                                                          \
    "\"decoder\": {\"type\": \"ByteLevel\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "

static dm_tokenizer *open_tokenizer(const dm_text *json)
{
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    const char *path = in_dir("tokenizer.json");

    put(path, json);
    CK_MSG(dm_tokenizer_open(&t, path, &err) == DM_OK, "%s", err.message);
    return t;
}

static double encode(const dm_text *json, char c, size_t n)
{
    dm_tokenizer *t = open_tokenizer(json);
    dm_ids ids = {0};
    dm_error err = {0};
    char *text = malloc(n);

    if (!t || !text)
        return 0;
    memset(text, c, n);
    const double begin = seconds();
    CK_MSG(dm_tokenizer_encode(t, text, n, true, &ids, &err) == DM_OK && ids.size > 0, "%s", err.message);
    const double took = seconds() - begin;
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
    free(text);
    return took;
}

/* "aa...ab" as an added token, beside "a", in a text of a's: it nearly matches everywhere. */
static double long_added_token(size_t n)
{
    dm_text json = {0};

    dm_text_print(&json,
                  "{" BYTES "\"use_regex\": true}, \"added_tokens\": [{\"id\": 2, \"content\": \"a\", \"special\": "
                  "true}, {\"id\": 1, \"special\": true, \"content\": \"");
    for (size_t i = 0; i < n / 8; i++)
        dm_text_add(&json, "a", 1);
    dm_text_print(&json, "b\"}], \"model\": {\"vocab\": {\"x\": 0}, \"merges\": []}}");
    const double took = encode(&json, 'a', n);
    dm_text_free(&json);
    return took;
}

/* A token that is a space and takes the spaces after it, in a text of spaces. */
static double spaces_behind_tokens(size_t n)
{
    dm_text json = {0};

    dm_text_print(&json,
                  "{" BYTES "\"use_regex\": true}, \"added_tokens\": [{\"id\": 1, \"content\": \" \", \"special\": "
                  "true, \"rstrip\": true, \"lstrip\": true}], \"model\": {\"vocab\": {\"x\": 0}, \"merges\": []}}");
    const double took = encode(&json, ' ', n);
    dm_text_free(&json);
    return took;
}

/* A text that is one word, whose merges go through it from end to end. */
static double one_word(size_t n)
{
    dm_text json = {0};

    dm_text_print(&json, "{" BYTES "\"use_regex\": false}, \"model\": {\"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2, "
                         "\"aaaaaaaa\": 3}, \"merges\": [\"a a\", \"aa aa\", \"aaaa aaaa\"]}}");
    const double took = encode(&json, 'a', n);
    dm_text_free(&json);
    return took;
}

/* Many tokens, merges and added tokens. */
static double many_tokens(size_t n)
{
    dm_text json = {0};
    dm_tokenizer *t;

    dm_text_print(&json, "{" BYTES "\"use_regex\": true}, \"added_tokens\": [");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, "%s{\"id\": %zu, \"content\": \"<%zu>\"}", i ? "," : "", 3 * n + i, i);
    dm_text_print(&json, "], \"model\": {\"vocab\": {\"a\": 0, \"b\": 1");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, ",\"a%zu\": %zu, \"ba%zu\": %zu", i, 2 + 2 * i, i, 3 + 2 * i);
    dm_text_print(&json, "}, \"merges\": [");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, "%s\"b a%zu\"", i ? "," : "", i);
    dm_text_print(&json, "]}}");
    const double begin = seconds();
    t = open_tokenizer(&json);
    dm_tokenizer_close(&t);
    dm_text_free(&json);
    return seconds() - begin;
}

/* Blocks of five letters that leave FNV-1a's low 17 bits as they were, so that all rows of them collide in a table of
 * that hash, which has no key. */
enum { BLOCKS = 40 };
static const char *colliding_block(size_t i)
{
    static char block[BLOCKS][6];
    const uint32_t low = (1u << 17) - 1, start = (uint32_t)14695981039346656037u & low, prime = 435;
    size_t found = 0;

    if (*block[BLOCKS - 1])
        return block[i];
    for (uint32_t k = 0; found < BLOCKS && k < 11881376; k++) {
        uint32_t h = start, letters = k;
        for (int at = 0; at < 5; at++, letters /= 26) {
            block[found][at] = (char)('a' + letters % 26);
            h = ((h ^ (unsigned char)block[found][at]) * prime) & low;
        }
        found += h == start;
    }
    CK(found == BLOCKS);
    return block[i];
}

static double colliding_tokens(size_t n)
{
    dm_text json = {0};

    dm_text_print(&json, "{" BYTES "\"use_regex\": true}, \"model\": {\"vocab\": {\"a\": 0");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, ",\"%s%s%s\": %zu", colliding_block(i % BLOCKS), colliding_block(i / BLOCKS % BLOCKS),
                      colliding_block(i / BLOCKS / BLOCKS), i + 1);
    dm_text_print(&json, "}, \"merges\": []}}");
    const double begin = seconds();
    dm_tokenizer *t = open_tokenizer(&json);
    dm_tokenizer_close(&t);
    dm_text_free(&json);
    return seconds() - begin;
}

/* An index that lacks the last tensor of its shard. */
static double index_lacks_one(size_t n)
{
    dm_text header = {0}, map = {0}, file = {0};
    dm_st *st;
    dm_error err = {0};

    dm_text_print(&header, "{");
    dm_text_print(&map, "{\"weight_map\":{");
    for (size_t i = 0; i < n; i++) {
        dm_text_print(&header, "%s\"tensor.%zu\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i ? "," : "", i);
        if (i + 1 < n)
            dm_text_print(&map, "%s\"tensor.%zu\":\"a.safetensors\"", i ? "," : "", i);
    }
    dm_text_print(&header, "}");
    dm_text_print(&map, "}}");
    char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (char)(header.size >> 8 * i);
    dm_text_add(&file, size, 8);
    dm_text_add(&file, header.data, header.size);
    put(in_dir("a.safetensors"), &file);
    put(in_dir("model.safetensors.index.json"), &map);
    dm_text_free(&header);
    dm_text_free(&map);
    dm_text_free(&file);
    const double begin = seconds();
    CK(dm_st_open(&st, in_dir("model.safetensors.index.json"), &err) == DM_ERR_INPUT &&
       strstr(err.message, "is not in the index"));
    return seconds() - begin;
}

/* Keys without end in one object, strings of escapes, lists in lists. */
static double json_of_everything(size_t n)
{
    dm_text json = {0};
    dm_json_doc *doc;
    dm_error err = {0};

    dm_text_print(&json, "[{");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, "%s\"%zu\":%zu", i ? "," : "", i, i);
    dm_text_print(&json, "}, \"");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, "\\u00e9\\n");
    dm_text_print(&json, "\"");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&json, ",[[[]],{\"a\":1,\"b\":2}]");
    dm_text_print(&json, "]");
    const double begin = seconds();
    CK_MSG(dm_json_parse(&doc, json.data, json.size, "t", &err) == DM_OK, "%s", err.message);
    dm_json_close(&doc);
    dm_text_free(&json);
    return seconds() - begin;
}

static void add_number(dm_text *t, uint64_t x, int width)
{
    for (int i = 0; i < width; i++, x >>= 8)
        dm_text_add(t, &(char){(char)x}, 1);
}

/* Many keys of one byte, with arrays of strings, and many tensors of nothing. */
static double gguf_of_everything(size_t n)
{
    dm_text file = {0};
    dm_gguf *g;
    dm_error err = {0};
    char name[32];

    dm_text_add(&file, "GGUF", 4);
    add_number(&file, 3, 4);
    add_number(&file, n, 8);
    add_number(&file, n, 8);
    for (size_t i = 0; i < n; i++) {
        const int size = snprintf(name, sizeof name, "k%zu", i);
        add_number(&file, (uint64_t)size, 8);
        dm_text_add(&file, name, (size_t)size);
        add_number(&file, 9, 4); /* an array of two strings */
        add_number(&file, 8, 4);
        add_number(&file, 2, 8);
        add_number(&file, 0, 8);
        add_number(&file, 0, 8);
    }
    for (size_t i = 0; i < n; i++) {
        const int size = snprintf(name, sizeof name, "t%zu", i);
        add_number(&file, (uint64_t)size, 8);
        dm_text_add(&file, name, (size_t)size);
        add_number(&file, 1, 4);
        add_number(&file, 0, 8);
        add_number(&file, 0, 4);
        add_number(&file, 0, 8);
    }
    for (int i = 0; i < 64; i++)
        dm_text_add(&file, "", 1);
    put(in_dir("x.gguf"), &file);
    dm_text_free(&file);
    const double begin = seconds();
    CK_MSG(dm_gguf_open(&g, in_dir("x.gguf"), &err) == DM_OK, "%s", err.message);
    dm_gguf_close(&g);
    return seconds() - begin;
}

static double chat_template(size_t n)
{
    static const char part[] = "{% if m.role == 'user' %}{{ m.content | trim }}{% else %}x{% endif %}\n";
    dm_text text = {0};
    dm_jinja *j = NULL;
    dm_error err = {0};

    for (size_t i = 0; i < n; i++)
        dm_text_add(&text, part, sizeof part - 1);
    const double begin = seconds();
    CK_MSG(!text.failed && dm_jinja_compile(&j, text.data, text.size, "t", &err) == DM_OK, "%s", err.message);
    dm_jinja_close(&j);
    dm_text_free(&text);
    return seconds() - begin;
}

static void check_times(void)
{
    static const struct {
        const char *name;
        double (*run)(size_t n);
        size_t n;
    } cases[] = {{"a long added token", long_added_token, 32768},
                 {"spaces behind tokens", spaces_behind_tokens, 16384},
                 {"one word", one_word, 32768},
                 {"many tokens", many_tokens, 2000},
                 {"colliding tokens", colliding_tokens, 7500},
                 {"an index that lacks one tensor", index_lacks_one, 4000},
                 {"a chat template", chat_template, 1500},
                 {"JSON", json_of_everything, 8000},
                 {"GGUF", gguf_of_everything, 2000}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double small = 1e9, large = 1e9;
        for (int round = 0; round < 3; round++) {
            const double a = cases[i].run(cases[i].n), b = cases[i].run(8 * cases[i].n);
            small = a < small ? a : small;
            large = b < large ? b : large;
        }
        CK_MSG(large < 24 * small + 0.02, "%s: %.4f s, of eight times the size %.4f s", cases[i].name, small, large);
    }
}

/* The worst shape: numbers of one digit. */
static void check_memory(void)
{
    enum { N = 1000000 };
    char *text = malloc(2 * N + 2);
    dm_json_doc *doc;
    dm_error err = {0};

    if (!CK(text != NULL))
        return;
    for (size_t i = 0; i < N; i++)
        memcpy(text + 2 * i, i ? ",1" : "[1", 2);
    text[2 * (size_t)N] = ']';
    const size_t before = dm_rss_now();
    CK_MSG(dm_json_parse(&doc, text, 2 * (size_t)N + 1, "t", &err) == DM_OK, "%s", err.message);
    const double per_byte = (double)(dm_rss_now() - before) / (2.0 * N);
    CK_MSG(CK_SANITIZED || before == 0 || per_byte < 34, "a byte of JSON takes %.1f of memory", per_byte);
    dm_json_close(&doc);
    free(text);
}

int main(void)
{
    dm_error err;

    snprintf(dir, sizeof dir, "/tmp/dm-linear-%ld", (long)getpid());
    if (!CK(dm_dir_create(dir, &err) == DM_OK))
        return ck_done("linear");
    check_times();
    check_memory();
    CK(dm_dir_remove(dir, &err) == DM_OK);
    return ck_done("linear");
}
