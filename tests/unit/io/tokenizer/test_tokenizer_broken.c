/* Broken tokenizers of Llama-2's kind: each gives one line. Files: tokenizer.json, SentencePiece's model, llama2.c's
 * tokenizer.bin, GGUF. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/gguf_tool.h"
#include "tests/support/pieces_tool.h"

static void refused(const char *what, const dm_error *err, const char *text)
{
    CK_MSG(strstr(err->message, text) != NULL && strchr(err->message, '\n') == NULL && strlen(err->message) < 900,
           "%s: \"%s\" does not say \"%s\"", what, err->message, text);
}

#define PRE "{\"type\":\"Metaspace\",\"replacement\":\"" DM_SPACE "\"}"
#define DEC                                                                                                            \
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" DM_SPACE                   \
    "\"},\"content\":\" \"},{\"type\":\"Fuse\"}]}"
#define MODEL "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}"
#define NORMAL(n) "{\"normalizer\":" n ",\"decoder\":" DEC "," MODEL "}"
#define CUT(p) "{\"pre_tokenizer\":" p ",\"decoder\":" DEC "," MODEL "}"
#define DECODE(d) "{\"pre_tokenizer\":" PRE ",\"decoder\":" d "," MODEL "}"
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" DM_SPACE "\"}"
#define PREPEND "{\"type\":\"Prepend\",\"prepend\":\"" DM_SPACE "\"}"

static void check_broken_json(void)
{
    static const struct {
        const char *json, *message;
        dm_status status;
    } cases[] = {
        {CUT(PRE), "", DM_OK},
        {NORMAL(REPLACE), "", DM_OK},
        {NORMAL("{\"type\":\"Sequence\",\"normalizers\":[" PREPEND "," REPLACE "]}"), "", DM_OK},
        {NORMAL(PREPEND), "Prepend without Replace", DM_ERR_UNSUPPORTED},
        {NORMAL("{\"type\":\"Sequence\",\"normalizers\":[" PREPEND "," PREPEND "]}"), "only one", DM_ERR_UNSUPPORTED},
        {NORMAL("{\"type\":\"Prepend\",\"prepend\":\"x\"}"), "Prepend must", DM_ERR_UNSUPPORTED},
        {NORMAL("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" \"},\"content\":\"" DM_SPACE "\"}"), "Replace must",
         DM_ERR_UNSUPPORTED},
        {NORMAL("{\"type\":\"Precompiled\"}"), "Precompiled", DM_ERR_UNSUPPORTED},
        {CUT("{\"type\":\"Metaspace\"}"), "\"replacement\"", DM_ERR_UNSUPPORTED},
        {CUT("{\"type\":\"Metaspace\",\"replacement\":\"_\"}"), "\"replacement\"", DM_ERR_UNSUPPORTED},
        {CUT("{\"type\":\"Metaspace\",\"replacement\":\"" DM_SPACE "\",\"prepend_scheme\":\"x\"}"), "prepend_scheme",
         DM_ERR_INPUT},
        {CUT("{\"type\":\"Metaspace\",\"replacement\":\"" DM_SPACE
             "\",\"prepend_scheme\":\"first\",\"add_prefix_space\":false}"),
         "add_prefix_space", DM_ERR_INPUT},
        {CUT("{\"type\":\"Metaspace\",\"replacement\":\"" DM_SPACE "\",\"split\":1}"), "split", DM_ERR_INPUT},
        {CUT("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}," PRE "]}"), "after another",
         DM_ERR_UNSUPPORTED},
        {CUT("{\"type\":\"Sequence\",\"pretokenizers\":[" PRE "," PRE "]}"), "after ByteLevel or Metaspace",
         DM_ERR_UNSUPPORTED},
        {CUT("{\"type\":\"Digits\"}"), "only with ByteLevel", DM_ERR_UNSUPPORTED},
        {CUT("null"), "spaces must be", DM_ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":" PRE "," MODEL "}", "a decoder is needed", DM_ERR_UNSUPPORTED},
        {DECODE("{\"type\":\"Fuse\"}"), "spaces must be", DM_ERR_UNSUPPORTED},
        {DECODE("{\"type\":\"WordPiece\"}"), "WordPiece", DM_ERR_UNSUPPORTED},
        {DECODE("{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"), "follow Fuse", DM_ERR_UNSUPPORTED},
        {DECODE("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \","
                "\"start\":2,\"stop\":0}]}"),
         "one \" \"", DM_ERR_UNSUPPORTED},
        {DECODE("{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}"), "Replace must",
         DM_ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":" PRE ",\"decoder\":" DEC ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],"
         "\"unk_token\":\"<unk>\"}}",
         "\"<unk>\", which is not", DM_ERR_INPUT},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"a\":"
         "0},"
         "\"merges\":[],\"byte_fallback\":true}}",
         "byte_fallback", DM_ERR_UNSUPPORTED},
    };
    const char *path = in_work("tokenizer.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_tokenizer *t = NULL;
        dm_error err = {0};
        put(path, cases[i].json, strlen(cases[i].json));
        const dm_status s = dm_tokenizer_open(&t, path, &err);
        CK_MSG(s == cases[i].status && (s == DM_OK) == (t != NULL), "JSON case %zu: status %d, %s", i, (int)s,
               err.message);
        refused("tokenizer.json", &err, cases[i].message);
        dm_tokenizer_close(&t);
    }
}

/* ---- protobuf ---- */

static void p_varint(dm_text *out, uint64_t x)
{
    do {
        const char c = (char)(unsigned char)((x & 0x7F) | (x > 0x7F ? 0x80 : 0));
        dm_text_add(out, &c, 1);
    } while ((x >>= 7) != 0);
}

static void p_number(dm_text *out, unsigned field_number, uint64_t x)
{
    p_varint(out, field_number << 3);
    p_varint(out, x);
}

static void p_bytes(dm_text *out, unsigned field_number, const char *bytes, size_t size)
{
    p_varint(out, field_number << 3 | 2);
    p_varint(out, size);
    dm_text_add(out, bytes, size);
}

static void p_piece(dm_text *out, const char *text, float score, unsigned type)
{
    dm_text piece = {0};
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    p_bytes(&piece, 1, text, strlen(text));
    p_varint(&piece, 2 << 3 | 5);
    const char little[4] = {(char)(bits & 0xFF), (char)(bits >> 8 & 0xFF), (char)(bits >> 16 & 0xFF),
                            (char)(bits >> 24)};
    dm_text_add(&piece, little, 4);
    p_number(&piece, 3, type);
    p_bytes(out, 1, piece.data, piece.size);
    dm_text_free(&piece);
}

static void p_spec(dm_text *out, unsigned message_number, unsigned field_number, uint64_t x)
{
    dm_text spec = {0};
    p_number(&spec, field_number, x);
    p_bytes(out, message_number, spec.data, spec.size);
    dm_text_free(&spec);
}

static dm_text good_model(void)
{
    dm_text m = {0};
    p_piece(&m, "<unk>", 0, DM_PIECE_UNKNOWN);
    p_piece(&m, "<s>", 0, DM_PIECE_CONTROL);
    p_piece(&m, "a", -1, DM_PIECE_NORMAL);
    p_spec(&m, 2, 3, 2);
    return m;
}

static void try_model(const char *what, dm_text *m, dm_status status, const char *message)
{
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    put(in_work("x.model"), m->data != NULL ? m->data : "", m->size);
    const dm_status s = dm_tokenizer_open(&t, in_work("x.model"), &err);
    CK_MSG(s == status && (s == DM_OK) == (t != NULL), "%s: status %d, %s", what, (int)s, err.message);
    refused(what, &err, message);
    dm_tokenizer_close(&t);
    dm_text_free(m);
}

static void check_broken_models(void)
{
    dm_text m = good_model(), inner = {0};
    try_model("good", &m, DM_OK, "");
    m = (dm_text){0};
    try_model("empty", &m, DM_ERR_INPUT, "has no pieces");
    m = good_model(), p_spec(&m, 2, 3, 1);
    try_model("Unigram", &m, DM_ERR_UNSUPPORTED, "Unigram");
    m = good_model(), p_spec(&m, 2, 3, 99);
    try_model("unknown type", &m, DM_ERR_UNSUPPORTED, "unknown");
    m = good_model(), p_spec(&m, 2, 24, 1);
    try_model("suffix", &m, DM_ERR_UNSUPPORTED, "treat_whitespace_as_suffix");
    m = good_model(), p_spec(&m, 3, 5, 0);
    try_model("no escape", &m, DM_ERR_UNSUPPORTED, "escape_whitespaces");
    m = good_model(), p_spec(&m, 2, 35, 1);
    try_model("no bytes", &m, DM_ERR_INPUT, "<0x00> is missing");
    m = good_model(), p_bytes(&inner, 1, "nmt_nfkc", 8), p_bytes(&inner, 2, "xxxx", 4),
    p_bytes(&m, 3, inner.data, inner.size);
    try_model("map", &m, DM_ERR_UNSUPPORTED, "nmt_nfkc");
    m = good_model(), p_bytes(&m, 5, inner.data, inner.size);
    try_model("denormalizer", &m, DM_ERR_UNSUPPORTED, "maps characters");
    dm_text_free(&inner);
    m = good_model(), p_bytes(&m, 1, "", 0);
    try_model("piece without text", &m, DM_ERR_INPUT, "piece 3 has no text");
    m = good_model(), p_piece(&m, "b", 0, 9);
    try_model("piece of type 9", &m, DM_ERR_INPUT, "type 0, must be");
    m = good_model(), p_piece(&m, "b", (float)NAN, 1);
    try_model("NaN", &m, DM_ERR_INPUT, "finite");
    m = good_model(), p_piece(&m, "a", 0, 1);
    try_model("twice", &m, DM_ERR_INPUT, "number 2 is the same");
    m = good_model(), p_piece(&m, "\xFF", 0, 1);
    try_model("no UTF-8", &m, DM_ERR_INPUT, "piece[3] is not text");
    m = good_model(), p_piece(&m, "<0xZZ>", 0, DM_PIECE_BYTE);
    try_model("no byte", &m, DM_ERR_INPUT, "like <0x0A>");
    m = good_model(), p_number(&m, 1, 5);
    try_model("pieces as a number", &m, DM_ERR_INPUT, "pieces is stored as another kind");
    m = good_model(), p_bytes(&inner, 3, "x", 1), p_bytes(&m, 2, inner.data, inner.size), dm_text_free(&inner);
    try_model("model_type as bytes", &m, DM_ERR_INPUT, "model_type is stored as another kind");
    m = good_model(), p_varint(&m, 9 << 3 | 3);
    try_model("a group", &m, DM_ERR_INPUT, "not a SentencePiece model");
    m = good_model(), p_varint(&m, 2), p_varint(&m, 0);
    try_model("field 0", &m, DM_ERR_INPUT, "not a SentencePiece model");
    m = good_model(), p_varint(&m, 1 << 3 | 2), p_varint(&m, UINT64_MAX);
    try_model("length 2^64 - 1", &m, DM_ERR_INPUT, "longer than what is left");
    m = good_model(), p_varint(&m, 1 << 3 | 2), p_varint(&m, (uint64_t)1 << 63);
    try_model("length 2^63", &m, DM_ERR_INPUT, "longer than what is left");
    m = good_model(), dm_text_add(&m, "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 11);
    try_model("65 bits", &m, DM_ERR_INPUT, "64 bits");
    m = good_model(), dm_text_add(&m, "\x08\x80", 2);
    try_model("ends in a number", &m, DM_ERR_INPUT, "ends inside a number");
    m = (dm_text){0}, dm_text_print(&m, "{\"model\": {\"type\": \"BPE\"}}");
    try_model("JSON", &m, DM_ERR_INPUT, "not a SentencePiece model");
}

static void put_u32(char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(unsigned char)(x >> 8 * i);
}

static void try_bin(const char *what, const char *bytes, size_t size, size_t vocabulary, const char *message)
{
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    put(in_work("x.bin"), bytes, size);
    const dm_status s = dm_tokenizer_open_llama2c(&t, in_work("x.bin"), vocabulary, &err);
    CK_MSG((*message == '\0') == (s == DM_OK) && (s == DM_OK) == (t != NULL), "%s: status %d, %s", what, (int)s,
           err.message);
    refused(what, &err, message);
    dm_tokenizer_close(&t);
}

static void check_broken_bins(void)
{
    static const char *const tokens[] = {"<unk>", "\n<s>\n", "\n</s>\n", " a"};
    char file[64] = {0};
    size_t n = 4;
    for (size_t i = 0; i < 4; i++) {
        put_u32(file + n + 4, (uint32_t)strlen(tokens[i]));
        memcpy(file + n + 8, tokens[i], strlen(tokens[i]));
        n += 8 + strlen(tokens[i]);
    }
    try_bin("good", file, n, 4, "");
    try_bin("more tokens than there are", file, n, 5, "inside token 4 of 5");
    try_bin("fewer", file, n, 3, "10 bytes are left after token 2");
    try_bin("none", file, n, 0, "too few");
    try_bin("huge", file, n, SIZE_MAX / 4, "too few");
    try_bin("no header", file, 3, 1, "too few");
    for (size_t cut = 4; cut < n; cut++)
        try_bin("cut", file, cut, 4, "x.bin");
    put_u32(file + 8, 0x7FFFFFFF);
    try_bin("length", file, n, 4, "token 0 has 2147483647 bytes");
    put_u32(file + 8, 5);
    put_u32(file + 4, 0x7FC00000);
    try_bin("NaN", file, n, 4, "finite");
}

/* A GGUF vocabulary with one thing wrong. */
static void check_broken_ggufs(void)
{
    static gguf_file f;
    static const struct {
        const char *model, *token, *merge, *message;
        uint32_t type;
        size_t types, scores;
    } cases[] = {
        {"gpt2", "ab", "a b", "", 1, 3, 3},
        {"llama", "ab", "a b", "", 1, 3, 3},
        {"bert", "ab", "a b", "\"bert\" is not supported", 1, 3, 3},
        {"gpt2", "ab", "ab", "is not two tokens", 1, 3, 3},
        {"gpt2", "ab", "a c", "does not have", 1, 3, 3},
        {"gpt2", "abc", "a b", "does not have", 1, 3, 3},
        {"gpt2", "a", "a b", "as is 0", 1, 3, 3},
        {"gpt2", "\xFF", "a b", "not text", 1, 3, 3},
        {"gpt2", "ab", "a b", "must be from 1 to 6", 7, 3, 3},
        {"gpt2", "ab", "a b", "2 values for 3 tokens", 1, 2, 3},
        {"llama", "ab", "a b", "2 values for 3 tokens", 1, 3, 2},
        {"llama", "a", "a b", "occurs twice", 1, 3, 3},
        {"llama", "\xFF", "a b", "not text", 1, 3, 3},
        {"llama", "ab", "a b", "must be from 1 to 6", 0, 3, 3},
        {"llama", "ab", "a b", "like <0x0A>", 6, 3, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_tokenizer *t = NULL;
        dm_error err = {0};
        g_begin(&f, 3, 0, 5);
        g_string(&f, "tokenizer.ggml.model", cases[i].model);
        g_array(&f, "tokenizer.ggml.tokens", K_STRING, 3);
        g_text(&f, "a"), g_text(&f, "b"), g_text(&f, cases[i].token);
        g_array(&f, "tokenizer.ggml.merges", K_STRING, 1), g_text(&f, cases[i].merge);
        g_array(&f, "tokenizer.ggml.token_type", K_I32, cases[i].types);
        for (size_t k = 0; k < cases[i].types; k++)
            g_number(&f, F_OTHER, k == 2 ? cases[i].type : 1, 4);
        g_array(&f, "tokenizer.ggml.scores", K_F32, cases[i].scores);
        for (size_t k = 0; k < cases[i].scores; k++)
            g_number(&f, F_OTHER, 0, 4);
        g_data(&f, "", 0);
        put(in_work("x.gguf"), f.bytes.data, f.bytes.size);
        g_free(&f);
        const dm_status s = open_gguf(&t, in_work("x.gguf"), &err);
        CK_MSG((*cases[i].message == '\0') == (s == DM_OK) && (s == DM_OK) == (t != NULL),
               "GGUF case %zu: status %d, %s", i, (int)s, err.message);
        refused("GGUF", &err, cases[i].message);
        dm_tokenizer_close(&t);
    }
}

/* Every file cut short and changed at random: refused with a line, or read, and then it works. */
static void try_any(const char *path, bool bin, size_t vocabulary)
{
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    const dm_status s = bin ? dm_tokenizer_open_llama2c(&t, path, vocabulary, &err) : dm_tokenizer_open(&t, path, &err);
    if (s != DM_OK) {
        CK_MSG(t == NULL && err.message[0] != '\0' && strchr(err.message, '\n') == NULL, "status %d without a line",
               (int)s);
        return;
    }
    dm_ids ids = {0};
    dm_text text = {0};
    if (dm_tokenizer_encode(t, "the inner <s> \xE6\x97\xA5\xF0\x9F\x99\x82  x", 24, true, &ids, NULL) == DM_OK)
        CK(dm_tokenizer_decode(t, ids.data, ids.size, false, &text, NULL) == DM_OK);
    dm_text_free(&text);
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
}

static void check_mutations(void)
{
    static const char *const names[] = {"m.model", "m.bin", "m.json"};
    const int rounds = getenv("DMPO_TEST_FAST") != NULL ? 200 : 1500;
    uint64_t random = 99;
    dm_tokenizer *t = NULL;
    CK(dm_tokenizer_open(&t, in_data("tokenizer-pieces.model"), NULL) == DM_OK);
    CK(dm_tokenizer_write_llama2c(t, in_work("a.bin"), NULL) == DM_OK);
    for (int kind = 0; kind < 3; kind++) {
        char *file = NULL;
        size_t size = 0;
        const char *from = kind == 0   ? in_data("tokenizer-pieces.model")
                           : kind == 1 ? in_work("a.bin")
                                       : in_data("tokenizer-pieces-added-legacy.json");
        if (!CK(dm_file_read(from, 1 << 20, &file, &size, NULL) == DM_OK))
            continue;
        for (size_t cut = 0; cut < size; cut += 1 + size / (size_t)rounds) {
            put(in_work(names[kind]), file, cut);
            try_any(in_work(names[kind]), kind == 1, t->size);
        }
        for (int i = 0; i < rounds; i++) {
            size_t at[3];
            char saved[3];
            for (int k = 0; k < 3; k++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                at[k] = (size_t)(random >> 33) % size;
                saved[k] = file[at[k]];
                file[at[k]] = (char)(random >> 20);
            }
            put(in_work(names[kind]), file, size);
            try_any(in_work(names[kind]), kind == 1, t->size);
            for (int k = 3; k-- > 0;)
                file[at[k]] = saved[k];
        }
        free(file);
    }
    dm_tokenizer_close(&t);
}

int main(void)
{
    pieces_begin("broken");
    check_broken_json();
    check_broken_models();
    check_broken_bins();
    check_broken_ggufs();
    check_mutations();
    return pieces_end("tokenizer_broken");
}
