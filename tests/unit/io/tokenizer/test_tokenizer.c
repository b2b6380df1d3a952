/* Tokenizers: against the tokenizers library (tests/data/tokenizer-*.json), and by properties.
 *
 *     tokenizer                                         the tests
 *     tokenizer --encode DIR all|text < texts           ids; all: added tokens are recognised
 *     tokenizer --decode DIR < lists of ids             JSON strings, one token at a time
 *     tokenizer --text DIR < lists of ids               JSON strings, as whole texts
 *     tokenizer --train DIR SPLIT DIGITS SIZE SPECIAL… < texts
 *     tokenizer --save FROM TO                          what was read, written again
 *
 * DIR and FROM: whatever tool_open takes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/system.h"
#include "core/utf8.h"
#include "io/json.h"
#include "io/tokenizer/split.h"
#include "io/tokenizer/tokenizer.h"
#include "io/tokenizer/unicode.h"
#include "tests/support/check.h"
#include "tests/support/tokenizer_tool.h"

/* ---- the tool ---- */

static int tool_encode(const char *dir, bool added)
{
    dm_error err;
    dm_tokenizer *t;
    dm_json_doc *doc;
    if (tool_open(&t, dir, &err) != DM_OK || tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next) {
        dm_ids ids = {0};
        if (dm_tokenizer_encode(t, v->text, v->length, added, &ids, &err) != DM_OK)
            return tool_error(&err);
        for (size_t i = 0; i < ids.size; i++)
            printf(i > 0 ? " %d" : "%d", (int)ids.data[i]);
        printf("\n");
        dm_ids_free(&ids);
    }
    dm_json_close(&doc);
    dm_tokenizer_close(&t);
    return 0;
}

static int tool_decode(const char *dir, bool whole)
{
    dm_error err;
    dm_tokenizer *t;
    dm_json_doc *doc;
    if (tool_open(&t, dir, &err) != DM_OK || tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next) {
        dm_text bytes = {0}, line = {0};
        for (const dm_json *id = v->child; id != NULL; id = id->next) {
            const int32_t number = (int32_t)id->integer;
            if (dm_tokenizer_decode(t, &number, 1, false, &bytes, &err) != DM_OK)
                return tool_error(&err);
        }
        const char *text = bytes.data != NULL ? bytes.data : "";
        size_t size = bytes.size;
        if (whole)
            dm_tokenizer_trim(t, &text, &size);
        dm_text_json_string(&line, text, size);
        printf("%s\n", line.data);
        dm_text_free(&bytes);
        dm_text_free(&line);
    }
    dm_json_close(&doc);
    dm_tokenizer_close(&t);
    return 0;
}

static int tool_train(int argc, char **argv)
{
    dm_error err;
    dm_tokenizer *t;
    dm_json_doc *doc;
    if (argc < 6 || tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    const size_t n = dm_json_root(doc)->length;
    const char **texts = malloc((n + 1) * sizeof *texts);
    size_t *sizes = malloc((n + 1) * sizeof *sizes), i = 0;
    if (texts == NULL || sizes == NULL)
        return 1;
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next, i++) {
        texts[i] = v->text;
        sizes[i] = v->length;
    }
    const dm_word_split split = strcmp(argv[3], "gpt2") == 0     ? DM_WORD_SPLIT_GPT2
                                : strcmp(argv[3], "llama3") == 0 ? DM_WORD_SPLIT_LLAMA3
                                                                 : DM_WORD_SPLIT_QWEN2;
    const double begin = dm_seconds();
    if (dm_tokenizer_train(&t, texts, sizes, n, strtoul(argv[5], NULL, 10), 2, split, strcmp(argv[4], "1") == 0,
                           (const char *const *)argv + 6, (size_t)argc - 6, &err) != DM_OK)
        return tool_error(&err);
    printf("%zu tokens in %.2f s\n", dm_tokenizer_size(t), dm_seconds() - begin);
    if (dm_tokenizer_save(t, argv[2], &err) != DM_OK)
        return tool_error(&err);
    free(texts);
    free(sizes);
    dm_json_close(&doc);
    dm_tokenizer_close(&t);
    return 0;
}

/* As tokenizer.json, or a FILE.bin of llama2.c. */
static dm_status save(const dm_tokenizer *t, const char *to, dm_error *err)
{
    const size_t size = strlen(to);
    return size > 4 && strcmp(to + size - 4, ".bin") == 0 ? dm_tokenizer_write_llama2c(t, to, err)
                                                          : dm_tokenizer_save(t, to, err);
}

static int tool_save(const char *from, const char *to)
{
    dm_error err;
    dm_tokenizer *t;
    if (tool_open(&t, from, &err) != DM_OK || save(t, to, &err) != DM_OK)
        return tool_error(&err);
    dm_tokenizer_close(&t);
    return 0;
}

/* ---- the tests ---- */

static char work[64]; /* a directory of our own */

static bool encodes_to(const dm_tokenizer *t, const char *text, size_t size, bool added, const int32_t *want, size_t n)
{
    dm_ids ids = {0};
    const bool same = dm_tokenizer_encode(t, text, size, added, &ids, NULL) == DM_OK && ids.size == n &&
                      (n == 0 || memcmp(ids.data, want, n * sizeof *want) == 0);
    dm_ids_free(&ids);
    return same;
}

static bool decodes_to(const dm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, const char *want,
                       size_t size)
{
    dm_text text = {0};
    const bool same = dm_tokenizer_decode(t, ids, n, skip_special, &text, NULL) == DM_OK && text.size == size &&
                      (size == 0 || memcmp(text.data, want, size) == 0);
    dm_text_free(&text);
    return same;
}

/* The library's tokenizer gives the library's ids; written and read again it still does. */
static void check_fixture(const char *data, const char *name, bool lossless)
{
    char path[512], cases[512];
    dm_error err = {0};
    dm_tokenizer *t[2] = {NULL, NULL};
    dm_json_doc *doc = NULL;
    snprintf(path, sizeof path, "%s/tokenizer-%s.json", data, name);
    snprintf(cases, sizeof cases, "%s/tokenizer-%s-cases.json", data, name);
    CK_MSG(dm_tokenizer_open(&t[0], path, &err) == DM_OK && dm_json_read(&doc, cases, &err) == DM_OK &&
               dm_tokenizer_save(t[0], work, &err) == DM_OK && dm_tokenizer_open(&t[1], work, &err) == DM_OK,
           "%s: %s", name, err.message);
    size_t number = 0;
    for (const dm_json *c = t[1] != NULL ? dm_json_root(doc)->child : NULL; c != NULL; c = c->next, number++) {
        const dm_json *text = c->child, *list = c->child->next;
        int32_t want[512];
        size_t n = 0;
        for (const dm_json *id = list->child; id != NULL && n < 512; id = id->next)
            want[n++] = (int32_t)id->integer;
        for (size_t i = 0; i < 2; i++)
            CK_MSG(encodes_to(t[i], text->text, text->length, true, want, n), "%s%s: case %zu", name,
                   i > 0 ? " written again" : "", number);
        CK_MSG(!lossless || decodes_to(t[0], want, n, false, text->text, text->length), "%s: decode of case %zu", name,
               number);
    }
    CK(number > 60);
    dm_json_close(&doc);
    dm_tokenizer_close(&t[0]);
    dm_tokenizer_close(&t[1]);
}

static dm_status train(dm_tokenizer **t, const char *text, size_t vocabulary, size_t min_frequency,
                       const char *const *specials, size_t n_specials, dm_error *err)
{
    const size_t size = strlen(text);
    return dm_tokenizer_train(t, &text, &size, 1, vocabulary, min_frequency, DM_WORD_SPLIT_GPT2, false, specials,
                              n_specials, err);
}

/* The tokens from id 256 on, by hand. */
static void check_merges(const char *text, size_t vocabulary, size_t min_frequency, const char *const *want, size_t n)
{
    dm_tokenizer *t = NULL;
    CK(train(&t, text, vocabulary, min_frequency, NULL, 0, NULL) == DM_OK);
    CK_MSG(dm_tokenizer_size(t) == 256 + n, "%s: %zu tokens, want %zu", text, dm_tokenizer_size(t), 256 + n);
    for (size_t i = 0; i < n; i++) {
        const char *token = dm_tokenizer_token(t, (int32_t)(256 + i), NULL);
        CK_MSG(token != NULL && strcmp(token, want[i]) == 0, "%s: token %zu is %s, want %s", text, 256 + i,
               token != NULL ? token : "none", want[i]);
    }
    dm_tokenizer_close(&t);
}

static void check_training(void)
{
    /* words "abab", " abab", " cdcd": ab 4 times; then cd and abab twice each, cd first for its lower ids */
    static const char *const first[] = {"ab", "cd", "abab"};
    check_merges("abab abab cdcd", 300, 2, first, 3);
    check_merges("abab abab cdcd", 258, 2, first, 2);
    /* aaaa: the pair aa occurs three times, merges twice, and what is left once more */
    static const char *const run[] = {"aa", "aaaa"};
    check_merges("aaaa", 300, 1, run, 2);
    /* bc 4 times; then (space, bc) and (a, bc) twice each: the space is the lower byte */
    static const char *const third[] = {"bc", "\xC4\xA0"
                                              "bc"};
    check_merges("abc abc bc bc", 258, 2, third, 2);

    static const char *const specials[] = {"ab", "<|x|>"};
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    CK(train(&t, "ab ab ab <|x|><|x|>", 300, 2, specials, 2, &err) == DM_OK);
    bool special = false;
    CK(strcmp(dm_tokenizer_token(t, 1, &special), "<|x|>") == 0 && special);
    CK(dm_tokenizer_id(t, "ab") == 0 && dm_tokenizer_id(t, "a") == 2 + 'a');
    static const int32_t apart[] = {2 + 'a', 2 + 'b'};
    static const int32_t control[] = {0, 1};
    CK(encodes_to(t, "ab", 2, false, apart, 2)); /* text never becomes a special token */
    CK(encodes_to(t, "ab<|x|>", 7, true, control, 2));
    CK(decodes_to(t, control, 2, false, "ab<|x|>", 7));
    CK(decodes_to(t, control, 2, true, "", 0));
    CK(dm_tokenizer_token(t, -1, NULL) == NULL && dm_tokenizer_token(t, 1000000, NULL) == NULL);
    CK(dm_tokenizer_id(t, "nothing") == -1);
    const int32_t out_of_range = (int32_t)dm_tokenizer_size(t);
    dm_text text = {0};
    CK(dm_tokenizer_decode(t, &out_of_range, 1, false, &text, &err) == DM_ERR_ARGUMENT);
    dm_text_free(&text);
    dm_tokenizer_close(&t);

    static const char *const twice[] = {"<a>", "<a>"}, *const empty[] = {""}, *const byte[] = {"a"};
    CK(train(&t, "a", 255, 1, NULL, 0, &err) == DM_ERR_ARGUMENT && strstr(err.message, "256") != NULL);
    CK(train(&t, "a", 300, 1, twice, 2, &err) == DM_ERR_ARGUMENT && strstr(err.message, "twice") != NULL);
    CK(train(&t, "a", 300, 1, empty, 1, &err) == DM_ERR_ARGUMENT);
    CK(train(&t, "a", 300, 1, byte, 1, &err) == DM_ERR_ARGUMENT && strstr(err.message, "byte") != NULL);
    CK(train(&t, "ab\xFFz", 300, 1, NULL, 0, &err) == DM_ERR_INPUT && strstr(err.message, "byte 2") != NULL);
    CK(t == NULL);
}

/* Two trainings write the same file; every string comes back, whatever its bytes. */
static void check_round_trip(void)
{
    char path[128];
    char *file[2] = {NULL, NULL};
    size_t size[2] = {0, 0};
    dm_tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/tokenizer.json", work);
    for (int i = 0; i < 2; i++) {
        dm_tokenizer_close(&t);
        CK(train(&t, "the cat and the hat\n\tthe end, 1234 12 12 \xC3\xA9\xC3\xA9 the", 300, 2, NULL, 0, NULL) ==
           DM_OK);
        CK(dm_tokenizer_save(t, work, NULL) == DM_OK && dm_file_read(path, 1 << 20, &file[i], &size[i], NULL) == DM_OK);
    }
    CK(size[0] == size[1] && memcmp(file[0], file[1], size[0]) == 0);
    free(file[0]);
    free(file[1]);
    for (uint32_t code = 0; code < 0x110000; code += code < 0x3000 ? 1 : 251) {
        unsigned char text[64];
        size_t n = 0;
        if (code >= 0xD800 && code < 0xE000)
            continue;
        text[n++] = 't';
        n += dm_utf8_put(text + n, code);
        n += dm_utf8_put(text + n, code);
        text[n++] = 'e';
        dm_ids ids = {0};
        CK(dm_tokenizer_encode(t, (const char *)text, n, false, &ids, NULL) == DM_OK);
        CK_MSG(decodes_to(t, ids.data, ids.size, false, (const char *)text, n), "U+%04X", (unsigned)code);
        dm_ids_free(&ids);
    }
    dm_error err = {0};
    dm_ids ids = {0};
    CK(dm_tokenizer_encode(t, "abc\xED\xA0\x80", 6, true, &ids, &err) == DM_ERR_INPUT &&
       strstr(err.message, "byte 3") != NULL);
    const size_t long_size = 1 << 20; /* one word: must not take quadratic time */
    char *run = malloc(long_size);
    if (CK(run != NULL)) {
        for (size_t i = 0; i < long_size; i++)
            run[i] = "the"[i % 3];
        CK(dm_tokenizer_encode(t, run, long_size, false, &ids, NULL) == DM_OK);
        CK(decodes_to(t, ids.data, ids.size, false, run, long_size));
    }
    free(run);
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
}

/* ---- broken files ---- */

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define PARTS "\"normalizer\":null,\"pre_tokenizer\":" BYTES ",\"decoder\":" BYTES
#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\"]}"
#define MERGES(m) "{" PARTS ",\"model\":{" VOCAB ",\"merges\":[" m "]}}"
#define ADDED(a) "{" PARTS "," MODEL ",\"added_tokens\":[" a "]}"
#define PRE(p) "{\"decoder\":" BYTES "," MODEL ",\"pre_tokenizer\":" p "}"

/* Only special tokens may be plain text in data: the ids are those of the tokenizers library with and without
 * encode_special_tokens. */
static void check_special(void)
{
    char path[512];
    dm_tokenizer *t = NULL;
    static const char text[] = "ab<t>ab<s>a<s><t>";
    static const char json[] = ADDED("{\"id\":3,\"content\":\"<t>\"},{\"id\":4,\"content\":\"<s>\",\"special\":true},"
                                     "{\"id\":5,\"content\":\"a<s>\",\"normalized\":false}");
    static const int32_t all[] = {2, 3, 2, 4, 5, 3}, some[] = {2, 3, 2, 5, 3};

    snprintf(path, sizeof path, "%s/tokenizer.json", work);
    CK(dm_file_write(path, json, sizeof json - 1, NULL) == DM_OK);
    if (!CK(dm_tokenizer_open(&t, path, NULL) == DM_OK))
        return;
    CK(encodes_to(t, text, sizeof text - 1, true, all, sizeof all / sizeof *all));
    CK(encodes_to(t, text, sizeof text - 1, false, some,
                  sizeof some / sizeof *some)); /* "<", "s", ">": no such token */
    dm_tokenizer_close(&t);
}

static void check_broken(void)
{
    static const struct {
        const char *json, *message;
        dm_status status;
    } cases[] = {
        {"{" PARTS "," MODEL "}", "", DM_OK},
        {MERGES("[\"a\",\"b\"]"), "", DM_OK},
        {ADDED("{\"id\":9,\"content\":\"<x>\",\"special\":true}"), "", DM_OK},
        {"[]", "\"model\"", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"type\":\"Unigram\"," VOCAB ",\"merges\":[]}}", "Unigram", DM_ERR_UNSUPPORTED},
        {"{" PARTS ",\"model\":{" VOCAB "}}", "\"merges\"", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"merges\":[]}}", "\"vocab\"", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"byte_fallback\":true," VOCAB ",\"merges\":[]}}", "byte_fallback", DM_ERR_UNSUPPORTED},
        {"{" PARTS ",\"model\":{\"dropout\":0.1," VOCAB ",\"merges\":[]}}", "dropout", DM_ERR_UNSUPPORTED},
        {"{" PARTS ",\"model\":{\"end_of_word_suffix\":\"</w>\"," VOCAB ",\"merges\":[]}}", "end_of_word_suffix",
         DM_ERR_UNSUPPORTED},
        {"{" PARTS ",\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "same id 0", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "\"a\" must be an integer", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", "\"a\" must be an integer", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", "\"a\" must be an integer", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"vocab\":{\"\":0},\"merges\":[]}}", "1 or more", DM_ERR_INPUT},
        {"{" PARTS ",\"model\":{\"vocab\":{\"a\\u0000b\":0},\"merges\":[]}}", "no NUL", DM_ERR_INPUT},
        {MERGES("\"a b\",\"a c\""), "merge 1 names \"c\"", DM_ERR_INPUT},
        {MERGES("[\"b\",\"a\"]"), "\"ba\", which is not in", DM_ERR_INPUT},
        {MERGES("\"a b\",[\"a\",\"b\"]"), "repeats", DM_ERR_INPUT},
        {MERGES("\"ab\""), "must be \"a b\"", DM_ERR_INPUT},
        {MERGES("\"a b c\""), "must be \"a b\"", DM_ERR_INPUT},
        {MERGES("[\"a\"]"), "must be \"a b\"", DM_ERR_INPUT},
        {MERGES("7"), "must be \"a b\"", DM_ERR_INPUT},
        {ADDED("{\"id\":3}"), "\"content\"", DM_ERR_INPUT},
        {ADDED("{\"content\":\"x\"}"), "the id of token \"x\"", DM_ERR_INPUT},
        {ADDED("{\"id\":3,\"content\":\"\"}"), "\"content\"", DM_ERR_INPUT},
        {ADDED("{\"id\":1,\"content\":\"x\"}"), "which is that of \"b\"", DM_ERR_INPUT},
        {ADDED("{\"id\":3,\"content\":\"ab\"}"), "id 3 here and 2 in the vocabulary", DM_ERR_INPUT},
        {ADDED("{\"id\":3,\"content\":\"x\"},{\"id\":3,\"content\":\"x\"}"), "twice", DM_ERR_INPUT},
        {ADDED("{\"id\":3,\"content\":\"x\",\"lstrip\":1}"), "lstrip", DM_ERR_INPUT},
        {"{\"decoder\":" BYTES "," MODEL "}", "without ByteLevel", DM_ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":" BYTES "," MODEL "}", "decoder", DM_ERR_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"NFKC\"}," PARTS "," MODEL "}", "duplicate", DM_ERR_INPUT},
        {"{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":" BYTES ",\"decoder\":" BYTES "," MODEL "}", "\"NFKC\"",
         DM_ERR_UNSUPPORTED},
        {PRE("{\"type\":\"Metaspace\"}"), "Metaspace", DM_ERR_UNSUPPORTED},
        {PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Isolated\",\"invert\":false}"),
         "pattern \\w+", DM_ERR_UNSUPPORTED},
        {PRE("{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\",\"invert\":false}"), "Regex",
         DM_ERR_UNSUPPORTED},
        {PRE("{\"type\":\"Split\",\"behavior\":\"MergedWithNext\"}"), "Isolated", DM_ERR_UNSUPPORTED},
        {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES "," BYTES "]}"), "after ByteLevel", DM_ERR_UNSUPPORTED},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/tokenizer.json", work);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_tokenizer *t = NULL;
        dm_error err = {0};
        CK(dm_file_write(path, cases[i].json, strlen(cases[i].json), NULL) == DM_OK);
        const dm_status status = dm_tokenizer_open(&t, work, &err);
        CK_MSG(status == cases[i].status && strstr(err.message, cases[i].message) != NULL &&
                   (status == DM_OK) == (t != NULL) && (status == DM_OK || strstr(err.message, ".json:1:") != NULL),
               "case %zu: status %d, \"%s\", want \"%s\"", i, (int)status, err.message, cases[i].message);
        dm_tokenizer_close(&t);
    }
    /* a byte that the vocabulary lacks, and whole files cut short */
    dm_tokenizer *t = NULL;
    dm_ids ids = {0};
    dm_error err = {0};
    const size_t size = strlen(cases[2].json);
    CK(dm_file_write(path, cases[2].json, size, NULL) == DM_OK && dm_tokenizer_open(&t, work, NULL) == DM_OK);
    static const int32_t without_c[] = {2};
    CK(encodes_to(t, "acb", 3, true, without_c, 1)); /* left out, and what is left merges: as in the library */
    CK(dm_tokenizer_size(t) == 10 && dm_tokenizer_token(t, 5, NULL) == NULL);
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
    for (size_t cut = 0; cut < size; cut += 7) {
        CK(dm_file_write(path, cases[2].json, cut, NULL) == DM_OK);
        CK_MSG(dm_tokenizer_open(&t, work, &err) != DM_OK && t == NULL, "accepted when cut at %zu", cut);
    }
    CK(dm_tokenizer_open(&t, "/nonexistent/tokenizer.json", &err) == DM_ERR_FILE);
}

/* Bytes of a real file changed at random: refused or read, and what is read works. */
static void check_mutations(const char *data)
{
    char path[512], *file = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/tokenizer-added-nfc.json", data);
    if (!CK(dm_file_read(path, 1 << 20, &file, &size, NULL) == DM_OK))
        return;
    snprintf(path, sizeof path, "%s/tokenizer.json", work);
    uint64_t random = 12345;
    for (int i = 0; i < 300; i++) {
        char saved[4];
        size_t at[4];
        for (int k = 0; k < 4; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            at[k] = (size_t)(random >> 33) % size;
            saved[k] = file[at[k]];
            file[at[k]] = "0123456789\"\\,ab[]{}"[(random >> 20) % 19];
        }
        dm_tokenizer *t = NULL;
        CK(dm_file_write(path, file, size, NULL) == DM_OK);
        if (dm_tokenizer_open(&t, work, NULL) == DM_OK) {
            dm_ids ids = {0};
            dm_text text = {0};
            if (dm_tokenizer_encode(t, "word caf\xC3\xA9<lr> the \xCC\x81", 19, true, &ids, NULL) == DM_OK)
                CK(dm_tokenizer_decode(t, ids.data, ids.size, false, &text, NULL) == DM_OK);
            dm_text_free(&text);
            dm_ids_free(&ids);
        }
        dm_tokenizer_close(&t);
        for (int k = 3; k >= 0; k--)
            file[at[k]] = saved[k];
    }
    free(file);
}

static void check_nfc(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"e\xCC\x81", "\xC3\xA9"},                                         /* e, acute */
        {"\xE2\x84\xAB", "\xC3\x85"},                                      /* angstrom sign: a singleton */
        {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"},          /* Hangul L V T */
        {"a\xCC\x95\xCC\x80\xD6\xAE\x62", "\xC3\xA0\xD6\xAE\xCC\x95\x62"}, /* NormalizationTest.txt, U+0315 */
        {"\xE0\xA4\x95\xE0\xA4\xBC", "\xE0\xA4\x95\xE0\xA4\xBC"},          /* excluded from composition */
        {"a\xCC\x85\xCC\x81", "a\xCC\x85\xCC\x81"},                        /* a mark of the same class stands between */
        {"\xE1\xBA\x9B\xCC\xA3", "\xE1\xBA\x9B\xCC\xA3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = NULL;
        size_t size = 0;
        CK(dm_nfc(cases[i].text, strlen(cases[i].text), &out, &size, NULL) == DM_OK);
        CK_MSG(out != NULL && size == strlen(cases[i].want) && memcmp(out, cases[i].want, size) == 0, "NFC case %zu",
               i);
        free(out);
    }
    char *out = NULL;
    size_t size;
    CK(dm_nfc("caf\xC3\xA9", 5, &out, &size, NULL) == DM_OK && out == NULL);
    CK(dm_nfc("caf\xC3", 4, &out, &size, NULL) == DM_ERR_INPUT);
}

/* The words of each pattern, as the tokenizers library cuts them (Split with "isolated", Digits). */
static void check_patterns(void)
{
    static const struct {
        dm_pattern pattern;
        const char *words; /* with | between them */
    } cases[] = {
        {DM_PATTERN_GPT2, "I|'|LL| we|'ve| '|s| '|\xC5"
                          "\xBF"
                          "x"},
        {DM_PATTERN_GPT2, "a| 12345| | b|\n\n| c| \t\n"},
        {DM_PATTERN_GPT2, "x|!!|\n|\n|?|y| .|\r\n| z"},
        {DM_PATTERN_GPT2, " \n \n"},
        {DM_PATTERN_GPT2, "(|ab|)|cd| 1|a"},
        {DM_PATTERN_LLAMA3, "I|'LL| we|'ve| '|s| '|\xC5"
                            "\xBF"
                            "x"},
        {DM_PATTERN_LLAMA3, "a| |123|45| | b|\n\n| c| \t\n"},
        {DM_PATTERN_LLAMA3, "x|!!\n\n|?y| .\r\n| z"},
        {DM_PATTERN_LLAMA3, " \n \n"},
        {DM_PATTERN_LLAMA3, "(ab|)cd| |1|a"},
        {DM_PATTERN_QWEN2, "I|'LL| we|'ve| '|s| '|\xC5"
                           "\xBF"
                           "x"},
        {DM_PATTERN_QWEN2, "a| |1|2|3|4|5| | b|\n\n| c| \t\n"},
        {DM_PATTERN_QWEN2, "x|!!\n\n|?y| .\r\n| z"},
        {DM_PATTERN_QWEN2, " \n \n"},
        {DM_PATTERN_QWEN2, "(ab|)cd| |1|a"},
        {DM_PATTERN_LLAMA3_ASCII, "I|'LL| we|'ve| '|s| '|\xC5"
                                  "\xBF"
                                  "x"},
        {DM_PATTERN_LLAMA3_ASCII, "a| |123|45| | b|\n\n| c| \t\n"},
        {DM_PATTERN_LLAMA3_ASCII, "x|!!\n\n|?y| .\r\n| z"},
        {DM_PATTERN_LLAMA3_ASCII, " \n \n"},
        {DM_PATTERN_LLAMA3_ASCII, "(ab|)cd| |1|a"},
        {DM_PATTERN_DIGIT, "ab|1|2| |\xC2"
                           "\xB3"
                           "|c"},
        {DM_PATTERN_DIGITS, "ab|12| |\xC2"
                            "\xB3"
                            "|c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64], words[64];
        size_t n = 0, k = 0;
        for (const char *s = cases[i].words; *s != '\0'; s++)
            if (*s != '|')
                text[n++] = *s;
        for (size_t begin = 0, end; begin < n; begin = end) {
            end = dm_pattern_next(cases[i].pattern, text, n, begin);
            if (begin > 0)
                words[k++] = '|';
            memcpy(words + k, text + begin, end - begin);
            k += end - begin;
        }
        words[k] = '\0';
        CK_MSG(strcmp(words, cases[i].words) == 0, "pattern %d: %s, want %s", (int)cases[i].pattern, words,
               cases[i].words);
    }
}

static int run_tests(void)
{
    const char *source = getenv("SRC");
    char data[400];
    snprintf(data, sizeof data, "%s/tests/data", source != NULL ? source : ".");
    snprintf(work, sizeof work, "/tmp/dm-test-tokenizer-%ld", (long)getpid());
    CK(dm_dir_create(work, NULL) == DM_OK);
    check_nfc();
    check_patterns();
    check_fixture(data, "llama3-ignore", true);
    check_fixture(data, "smollm", true);
    check_fixture(data, "added-nfc", false);
    check_training();
    check_round_trip();
    check_special();
    check_broken();
    check_mutations(data);
    CK(dm_dir_remove(work, NULL) == DM_OK);
    return ck_done("tokenizer");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--encode") == 0)
        return tool_encode(argv[2], strcmp(argv[3], "all") == 0);
    if (argc == 3 && (strcmp(argv[1], "--decode") == 0 || strcmp(argv[1], "--text") == 0))
        return tool_decode(argv[2], argv[1][2] == 't');
    if (argc >= 6 && strcmp(argv[1], "--train") == 0)
        return tool_train(argc, argv);
    if (argc == 4 && strcmp(argv[1], "--save") == 0)
        return tool_save(argv[2], argv[3]);
    return run_tests();
}
