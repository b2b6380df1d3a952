/* Tokenizers of Llama-2's kind in every container: against the tokenizers library and sentencepiece (tests/data/
 * tokenizer-pieces*), and by rules. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/data/template.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/gguf_tool.h"
#include "tests/support/pieces_tool.h"

static bool same_ids(const dm_ids *ids, const int32_t *want, size_t n)
{
    return ids->size == n && (n == 0 || memcmp(ids->data, want, n * sizeof *want) == 0);
}

/* The cases of a file: the library's ids, and the text back where `lossless`. */
static void check_cases(const dm_tokenizer *t, const char *what, const char *file, bool lossless)
{
    dm_json_doc *doc = NULL;
    dm_error err = {0};
    size_t number = 0;
    CK_MSG(dm_json_read(&doc, in_data(file), &err) == DM_OK, "%s", err.message);
    for (const dm_json *c = t && doc ? dm_json_root(doc)->child : NULL; c != NULL; c = c->next, number++) {
        const dm_json *text = c->child, *list = c->child->next;
        int32_t want[1024];
        size_t n = 0;
        for (const dm_json *id = list->child; id != NULL && n < 1024; id = id->next)
            want[n++] = (int32_t)id->integer;
        dm_ids ids = {0};
        CK_MSG(dm_tokenizer_encode(t, text->text, text->length, true, &ids, &err) == DM_OK && same_ids(&ids, want, n),
               "%s: case %zu of %s", what, number, file);
        dm_text out = {0};
        CK(dm_tokenizer_decode(t, want, n, false, &out, NULL) == DM_OK);
        const char *begin = out.data != NULL ? out.data : "";
        size_t size = out.size;
        dm_tokenizer_trim(t, &begin, &size);
        if (lossless && strstr(text->text, DM_SPACE) == NULL && strstr(text->text, "<|") == NULL)
            CK_MSG(size == text->length && memcmp(begin, text->text, size) == 0, "%s: decode of case %zu of %s", what,
                   number, file);
        dm_text_free(&out);
        dm_ids_free(&ids);
    }
    CK_MSG(number > 60, "%s: %zu cases", file, number);
    dm_json_close(&doc);
}

static void check_json(const char *name, bool lossless)
{
    char file[128], cases[128];
    dm_tokenizer *t[2] = {NULL, NULL};
    dm_error err = {0};
    snprintf(file, sizeof file, "tokenizer-pieces-%s.json", name);
    snprintf(cases, sizeof cases, "tokenizer-pieces-%s-cases.json", name);
    CK_MSG(dm_tokenizer_open(&t[0], in_data(file), &err) == DM_OK &&
               dm_tokenizer_save(t[0], in_work("."), &err) == DM_OK &&
               dm_tokenizer_open(&t[1], in_work("."), &err) == DM_OK,
           "%s: %s", name, err.message);
    check_cases(t[0], name, cases, lossless);
    check_cases(t[1], "written again", cases, lossless);
    dm_tokenizer_close(&t[0]);
    dm_tokenizer_close(&t[1]);
}

/* ---- containers ---- */

static int type_of(const dm_tokenizer *t, int32_t id)
{
    const char *text = dm_tokenizer_token(t, id, NULL);
    if (id == t->unknown)
        return DM_PIECE_UNKNOWN;
    if (t->flags[id] & DM_TOKEN_ADDED)
        return t->flags[id] & DM_TOKEN_SPECIAL ? DM_PIECE_CONTROL : DM_PIECE_USER;
    return t->bpe != DM_BPE_BYTES && dm_token_byte(text, strlen(text)) >= 0 ? DM_PIECE_BYTE : DM_PIECE_NORMAL;
}

/* As llama.cpp's converter writes it. */
static void put_gguf(const dm_tokenizer *t, const char *path, const char *pre)
{
    static gguf_file f;
    const bool pieces = t->bpe == DM_BPE_SCORES;
    g_begin(&f, 3, 0, 4);
    g_string(&f, "tokenizer.ggml.model", pieces ? "llama" : "gpt2");
    g_array(&f, "tokenizer.ggml.tokens", K_STRING, t->size);
    for (size_t i = 0; i < t->size; i++)
        g_text(&f, dm_tokenizer_token(t, (int32_t)i, NULL));
    g_array(&f, "tokenizer.ggml.token_type", K_I32, t->size);
    for (size_t i = 0; i < t->size; i++)
        g_number(&f, F_OTHER, (uint64_t)type_of(t, (int32_t)i), 4);
    if (pieces) {
        g_array(&f, "tokenizer.ggml.scores", K_F32, t->size);
        for (size_t i = 0; i < t->size; i++) {
            uint32_t bits;
            memcpy(&bits, &t->scores[i], sizeof bits);
            g_number(&f, F_OTHER, bits, 4);
        }
    } else {
        g_array(&f, "tokenizer.ggml.merges", K_STRING, t->n_merges);
        for (size_t i = 0; i < t->n_merges; i++) {
            dm_text m = {0};
            dm_text_print(&m, "%s %s", dm_tokenizer_token(t, t->merges[i].left, NULL),
                          dm_tokenizer_token(t, t->merges[i].right, NULL));
            g_text(&f, m.data);
            dm_text_free(&m);
        }
    }
    if (!pieces) {
        f.bytes.data[16] = 5; /* one key more */
        g_string(&f, "tokenizer.ggml.pre", pre);
    }
    g_data(&f, "", 0);
    put(path, f.bytes.data, f.bytes.size);
    g_free(&f);
}

static void check_containers(void)
{
    static const char cases[] = "tokenizer-pieces-cases.json";
    dm_tokenizer *t = NULL, *other = NULL;
    dm_error err = {0};
    char *file[2] = {NULL, NULL};
    size_t size[2] = {0, 0};

    CK_MSG(dm_tokenizer_open(&t, in_data("tokenizer-pieces.model"), &err) == DM_OK, "%s", err.message);
    if (t == NULL)
        return;
    check_cases(t, "tokenizer.model", cases, true);
    CK(dm_tokenizer_unknown(t) == 0 && dm_tokenizer_prefixes(t));

    CK(dm_tokenizer_save(t, in_work("json"), &err) == DM_OK &&
       dm_tokenizer_open(&other, in_work("json"), &err) == DM_OK);
    check_cases(other, "as tokenizer.json", cases, true);
    CK_MSG(dm_tokenizer_write_llama2c(other, in_work("of-json.bin"), &err) == DM_OK, "%s", err.message);
    dm_tokenizer_close(&other);

    CK(dm_tokenizer_open_llama2c(&other, in_work("of-json.bin"), t->size, &err) == DM_OK);
    check_cases(other, "as tokenizer.bin, of merges", cases, true);
    dm_tokenizer_close(&other);

    CK(dm_tokenizer_write_llama2c(t, in_work("a.bin"), &err) == DM_OK);
    CK_MSG(dm_tokenizer_open_llama2c(&other, in_work("a.bin"), t->size, &err) == DM_OK, "%s", err.message);
    check_cases(other, "as tokenizer.bin", cases, true);
    CK(dm_tokenizer_write_llama2c(other, in_work("b.bin"), &err) == DM_OK);
    for (int i = 0; i < 2; i++)
        CK(dm_file_read(in_work(i ? "b.bin" : "a.bin"), 1 << 20, &file[i], &size[i], NULL) == DM_OK);
    CK(size[0] == size[1] && size[0] > 0 && memcmp(file[0], file[1], size[0]) == 0);
    free(file[0]);
    free(file[1]);
    dm_tokenizer_close(&other);

    put_gguf(t, in_work("a.gguf"), "");
    CK_MSG(open_gguf(&other, in_work("a.gguf"), &err) == DM_OK, "%s", err.message);
    check_cases(other, "in GGUF", cases, true);
    dm_tokenizer_close(&other);

    /* a directory without tokenizer.json, and one where tokenizer.json comes first */
    CK(dm_dir_create(in_work("dir"), NULL) == DM_OK);
    CK(dm_file_read(in_data("tokenizer-pieces.model"), 1 << 20, &file[0], &size[0], NULL) == DM_OK);
    put(in_work("dir/tokenizer.model"), file[0], size[0]);
    free(file[0]);
    CK_MSG(dm_tokenizer_open(&other, in_work("dir"), &err) == DM_OK && other->bpe == DM_BPE_SCORES, "%s", err.message);
    dm_tokenizer_close(&other);
    CK(dm_tokenizer_save(t, in_work("dir"), NULL) == DM_OK && dm_tokenizer_open(&other, in_work("dir"), &err) == DM_OK);
    CK(other != NULL && other->bpe == DM_BPE_CHARACTERS);
    dm_tokenizer_close(&other);
    dm_tokenizer_close(&t);
}

/* A byte-level tokenizer in GGUF is the one in tokenizer.json. */
static void check_gpt2(void)
{
    dm_tokenizer *t = NULL, *other = NULL;
    dm_error err = {0};
    CK(dm_tokenizer_open(&t, in_data("tokenizer-smollm.json"), &err) == DM_OK);
    put_gguf(t, in_work("b.gguf"), "smollm");
    CK_MSG(open_gguf(&other, in_work("b.gguf"), &err) == DM_OK, "%s", err.message);
    if (other != NULL) {
        check_cases(other, "in GGUF", "tokenizer-smollm-cases.json", false);
        CK(dm_tokenizer_save(other, in_work("."), &err) == DM_OK);
        dm_tokenizer_close(&other);
        CK(dm_tokenizer_open(&other, in_work("."), &err) == DM_OK);
        check_cases(other, "of GGUF, written as tokenizer.json", "tokenizer-smollm-cases.json", false);
    }
    dm_tokenizer_close(&other);
    put_gguf(t, in_work("b.gguf"), "falcon");
    CK(open_gguf(&other, in_work("b.gguf"), &err) == DM_ERR_UNSUPPORTED && strstr(err.message, "falcon") != NULL);
    CK(dm_tokenizer_write_llama2c(t, in_work("c.bin"), &err) == DM_ERR_UNSUPPORTED &&
       !dm_file_exists(in_work("c.bin")));
    dm_tokenizer_close(&t);
}

/* llama2.c names its control tokens <s> and </s>: other names would be lost, and a token that has one of them would
 * make the file unreadable. */
static void check_llama2c_names(void)
{
    static const char clash[] = "\4\0\0\0\0\0\0\0\4\0\0\0</s>\0\0\0\0\1\0\0\0a\0\0\0\0\1\0\0\0b";
    static const char other_name[] = "\4\0\0\0\0\0\0\0\1\0\0\0x\0\0\0\0\3\0\0\0<s>\0\0\0\0\1\0\0\0b";
    dm_tokenizer *t;
    dm_error err;

    put(in_work("names.bin"), clash, sizeof clash - 1);
    CK(dm_tokenizer_open_llama2c(&t, in_work("names.bin"), 3, &err) == DM_OK);
    CK_MSG(dm_tokenizer_write_llama2c(t, in_work("refused.bin"), &err) == DM_ERR_UNSUPPORTED &&
               strstr(err.message, "occurs twice") != NULL && !dm_file_exists(in_work("refused.bin")),
           "%s", err.message);
    dm_tokenizer_close(&t);
    put(in_work("names.bin"), other_name, sizeof other_name - 1);
    CK(dm_tokenizer_open_llama2c(&t, in_work("names.bin"), 3, &err) == DM_OK);
    CK(dm_tokenizer_write_llama2c(t, in_work("refused.bin"), &err) == DM_ERR_UNSUPPORTED &&
       strstr(err.message, "cannot hold token 2, \"b\"") != NULL && !dm_file_exists(in_work("refused.bin")));
    dm_tokenizer_close(&t);
}

/* ---- where a text stands ---- */

static void check_places(void)
{
    dm_tokenizer *t = NULL;
    CK(dm_tokenizer_open(&t, in_data("tokenizer-pieces-legacy.json"), NULL) == DM_OK);
    const int32_t space = dm_tokenizer_id(t, DM_SPACE), x = dm_tokenizer_id(t, "x");
    const int32_t want[] = {space, x};
    for (int place = DM_TEXT_FIRST; place <= DM_TEXT_INSIDE; place++) {
        dm_ids ids = {0};
        CK(dm_tokenizer_encode_part(t, "x", 1, (dm_text_place)place, &ids, NULL) == DM_OK);
        const size_t skip = place == DM_TEXT_INSIDE ? 1 : 0;
        CK_MSG(same_ids(&ids, want + skip, 2 - skip), "place %d", place);
        dm_ids_free(&ids);
    }
    dm_tokenizer_close(&t);
}

/* Words that are rendered come back from the ids of their span. */
static void check_words(void)
{
    static const char *const names[] = {"llama2", "mistral", "vicuna", "zephyr", "chatml", "plain"};
    static const char *const texts[] = {"Action: go", "x", " lead", "two  spaces", "\xE6\x97\xA5 \xF0\x9F\x99\x82",
                                        "1 + 1"};
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    CK(dm_tokenizer_open(&t, in_data("tokenizer-pieces-legacy.json"), NULL) == DM_OK);
    for (size_t k = 0; k < 6; k++) {
        dm_chat_template c;
        CK_MSG(dm_template_open(&c, &(dm_template_choice){.name = names[k]}, NULL, t, &err) == DM_OK, "%s",
               err.message);
        for (size_t i = 0; i < 6; i++) {
            if (strcmp(names[k], "llama2") == 0 && texts[i][0] == ' ')
                continue; /* this template strips */
            const dm_message m[] = {
                {.role = DM_ROLE_USER, .text = "hi", .size = 2},
                {.role = DM_ROLE_ASSISTANT, .text = texts[i], .size = strlen(texts[i]), .train = true},
                {.role = DM_ROLE_USER, .text = "and?", .size = 4}};
            dm_ids ids = {0}, grown = {0};
            dm_span span[3];
            size_t n = 0;
            dm_text said = {0};
            CK(dm_template_render(&c, t, &(dm_conversation){.messages = m, .n = 3}, true, &ids, span, &n, &err) ==
                   DM_OK &&
               n == 1);
            CK(dm_tokenizer_decode(t, ids.data + span[0].begin, span[0].end - span[0].begin, true, &said, &err) ==
               DM_OK);
            const char *words = said.data;
            size_t size = said.size;
            dm_template_words(&c, t, &words, &size);
            CK_MSG(size == strlen(texts[i]) && memcmp(words, texts[i], size) == 0, "%s: '%s' comes back as '%.*s'",
                   names[k], texts[i], (int)size, words);
            /* the same conversation, grown turn by turn */
            CK(dm_template_render(&c, t, &(dm_conversation){.messages = m, .n = 1}, true, &grown, NULL, &n, &err) ==
                   DM_OK &&
               grown.size == span[0].begin);
            for (size_t j = span[0].begin; j < span[0].end; j++)
                CK(dm_ids_push(&grown, ids.data[j], NULL) == DM_OK);
            CK(dm_template_continue(&c, t, &(dm_conversation){.messages = m, .n = 3}, &grown, &err) == DM_OK);
            CK_MSG(same_ids(&grown, ids.data, ids.size), "%s: grown and whole differ", names[k]);
            dm_text_free(&said);
            dm_ids_free(&ids);
            dm_ids_free(&grown);
        }
        dm_template_close(&c);
    }
    dm_tokenizer_close(&t);
}

/* ---- rules of SentencePiece, by hand ---- */

static const dm_piece small[] = {
    {"<unk>", 5, 0, DM_PIECE_UNKNOWN},      {"<s>", 3, 0, DM_PIECE_CONTROL}, {"</s>", 4, 0, DM_PIECE_CONTROL},
    {DM_SPACE, 3, -9, DM_PIECE_NORMAL},     {"a", 1, -9, DM_PIECE_NORMAL},   {"b", 1, -9, DM_PIECE_NORMAL},
    {"ab", 2, -1, DM_PIECE_NORMAL},         {"ba", 2, -1, DM_PIECE_NORMAL},  {"aba", 3, -5, DM_PIECE_UNUSED},
    {DM_SPACE "a", 4, -2, DM_PIECE_NORMAL}, {"<u>", 3, 0, DM_PIECE_USER},    {"abab", 4, -6, DM_PIECE_NORMAL},
    {"c", 1, -9, DM_PIECE_UNUSED},
};

static void check_rule(const dm_piece_rules *rules, const char *text, const int32_t *want, size_t n)
{
    dm_tokenizer *t = NULL;
    dm_error err = {0};
    dm_ids ids = {0};
    CK_MSG(dm_tokenizer_from_pieces(&t, small, sizeof small / sizeof *small, rules, "f", "p", &err) == DM_OK, "%s",
           err.message);
    CK(dm_tokenizer_encode(t, text, strlen(text), true, &ids, &err) == DM_OK);
    CK_MSG(same_ids(&ids, want, n), "'%s': %zu ids, the first %d", text, ids.size, ids.size ? (int)ids.data[0] : -1);
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
}

static void check_rules(void)
{
    const dm_piece_rules none = {.bos = -1}, prefix = {.prefix = true, .bos = -1},
                         squeeze = {.prefix = true, .squeeze = true, .bos = -1},
                         user = {.prefix = true, .user_normalized = true, .bos = -1};
#define WANT(rules, text, ...)                                                                                         \
    check_rule(&(rules), text, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
    WANT(none, "ab", 6);
    WANT(none, "bab", 7, 5);     /* equal scores: the leftmost pair */
    WANT(none, "abab", 11);      /* ab, ab; then both */
    WANT(none, "aba", 6, 4);     /* an unused piece is taken apart again, as it was put together */
    WANT(none, "ac", 4, 0);      /* unused and nothing to take apart: unknown */
    WANT(none, "axyb", 4, 0, 5); /* unknown characters are one token */
    WANT(none, "a b", 4, 3, 5);
    WANT(prefix, "a", 9);
    WANT(prefix, " a", 3, 9);
    WANT(prefix, "a<s>a", 9, 1, 9); /* the prefix follows control tokens too */
    WANT(prefix, "a<u>a", 9, 10, 9);
    WANT(user, "a<u>a", 9, 10, 4); /* but text around a token that SentencePiece itself finds is one text */
    WANT(squeeze, "  a  b ", 9, 3, 5);
    check_rule(&squeeze, "   ", NULL, 0);
    check_rule(&squeeze, DM_SPACE, NULL, 0);
    check_rule(&prefix, "", NULL, 0);
#undef WANT
}

/* Tokens that a directory adds to its tokenizer.model; the ids are transformers 5's. */
static void check_extra(void)
{
    static const char text[] = "a <|im_start|> the<think>x";
    static const int32_t legacy[] = {270, 388, 460, 285, 461, 388, 417}, newer[] = {270, 388, 460, 285, 461, 417};
    static const struct {
        const char *config, *added, *message;
        const int32_t *want; /* NULL: refused */
        size_t n;
    } cases[] = {
        {"{\"legacy\": true, \"added_tokens_decoder\": {\"460\": {\"content\": \"<|im_start|>\", \"special\": true}, "
         "\"461\": {\"content\": \"<think>\", \"special\": false}}}",
         "{\"<think>\": 461}", "", legacy, sizeof legacy / sizeof *legacy},
        {"{\"pad_token\": {\"content\": \"<|im_start|>\"}}", "{\"<|im_start|>\": 460, \"<think>\": 461}", "", newer,
         sizeof newer / sizeof *newer},
        {"{}", "{\"<|im_start|>\": 0}", "added_tokens.json:1:18: added token \"<|im_start|>\" has id 0, which is", NULL,
         0},
        {"{}", "{\"<s>\": 500}", "has id 500 here and 1 in the tokenizer's model", NULL, 0},
        {"{}", "{\"<x>\": -1}", "\"<x>\" must be a token with an id", NULL, 0},
        {"{\"added_tokens_decoder\": {\"4x\": {\"content\": \"<x>\"}}}", "{}", "\"4x\" in added_tokens_decoder", NULL,
         0},
        {"{\"added_tokens_decoder\": {\"460\": {\"special\": true}}}", "{}", "\"content\" must be", NULL, 0},
        {"{\"legacy\": 1}", "{}", "\"legacy\" must be true, false or null", NULL, 0},
    };
    char *model = NULL;
    size_t size = 0;

    CK(dm_dir_create(in_work("extra"), NULL) == DM_OK &&
       dm_file_read(in_data("tokenizer-pieces.model"), 1 << 20, &model, &size, NULL) == DM_OK);
    put(in_work("extra/tokenizer.model"), model, size);
    free(model);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_tokenizer *t = NULL;
        dm_error err = {0};
        bool special = false;
        put(in_work("extra/tokenizer_config.json"), cases[i].config, strlen(cases[i].config));
        put(in_work("extra/added_tokens.json"), cases[i].added, strlen(cases[i].added));
        const dm_status status = dm_tokenizer_open(&t, in_work("extra"), &err);
        if (!cases[i].want) {
            CK_MSG(status == DM_ERR_INPUT && strstr(err.message, cases[i].message) != NULL, "case %zu: %s", i,
                   err.message);
            continue;
        }
        if (!CK_MSG(status == DM_OK, "case %zu: %s", i, err.message))
            continue;
        dm_ids ids = {0};
        CK(dm_tokenizer_encode(t, text, sizeof text - 1, true, &ids, NULL) == DM_OK);
        CK_MSG(same_ids(&ids, cases[i].want, cases[i].n), "case %zu: %zu ids", i, ids.size);
        CK(dm_tokenizer_token(t, 460, &special) && special && dm_tokenizer_token(t, 461, &special) && !special);
        dm_ids_free(&ids);
        dm_tokenizer_close(&t);
    }
}

/* A megabyte without a space: must not take quadratic time. */
static void check_long(void)
{
    static const char *const files[] = {"tokenizer-pieces.model", "tokenizer-pieces-legacy.json"};
    const size_t size = 1 << 20;
    char *run = malloc(size);
    for (size_t i = 0; i < size && run != NULL; i++)
        run[i] = "the"[i % 3];
    for (size_t k = 0; k < 2 && CK(run != NULL); k++) {
        dm_tokenizer *t = NULL;
        dm_ids ids = {0};
        dm_text text = {0};
        CK(dm_tokenizer_open(&t, in_data(files[k]), NULL) == DM_OK);
        CK(dm_tokenizer_encode(t, run, size, false, &ids, NULL) == DM_OK && ids.size < size);
        CK(dm_tokenizer_decode(t, ids.data, ids.size, false, &text, NULL) == DM_OK && text.size == size + 1 &&
           memcmp(text.data + 1, run, size) == 0);
        dm_text_free(&text);
        dm_ids_free(&ids);
        dm_tokenizer_close(&t);
    }
    free(run);
}

int main(void)
{
    pieces_begin("pieces");
    check_json("legacy", true);
    check_json("added-legacy", false);
    check_json("added-first", false);
    check_json("bytes-missing-apart", false);
    check_containers();
    check_gpt2();
    check_llama2c_names();
    check_places();
    check_words();
    check_rules();
    check_extra();
    check_long();
    return pieces_end("tokenizer_pieces");
}
