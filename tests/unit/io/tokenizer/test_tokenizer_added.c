/* Added tokens in a text: the longest at the leftmost place, against a plain search; tokens with the same normal form;
 * texts with NULs; spaces beside them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/tokenizer/tokenizer_internal.h"
#include "tests/support/check.h"

static char path[64];

/* A byte-level tokenizer of "a", "b", NUL and space with these added tokens. */
static dm_tokenizer *open_with(const char *added, const char *normalizer)
{
    dm_text json = {0};
    dm_tokenizer *t = NULL;
    dm_error err;

    dm_text_print(
        &json,
        "{\"normalizer\": %s, \"added_tokens\": [%s], \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": false, \"use_regex\": true}, \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": "
        "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"\xC4\x80\": 2, \"\xC4\xA0\": 3}, "
        "\"merges\": []}}",
        normalizer, added);
    CK_MSG(dm_file_write(path, json.data, json.size, &err) == DM_OK && dm_tokenizer_open(&t, path, &err) == DM_OK, "%s",
           err.message);
    dm_text_free(&json);
    return t;
}

static void encodes(const dm_tokenizer *t, const char *text, size_t size, const int32_t *want, size_t n)
{
    dm_ids ids = {0};
    dm_error err = {0};
    char *copy = malloc(size); /* of the exact size: a sanitizer sees a byte too many */

    memcpy(copy, text, size);
    CK_MSG(dm_tokenizer_encode(t, copy, size, true, &ids, &err) == DM_OK, "%s", err.message);
    CK_MSG(ids.size == n && (n == 0 || memcmp(ids.data, want, n * sizeof *want) == 0),
           "%zu ids instead of %zu, the first is %d", ids.size, n, ids.size ? (int)ids.data[0] : -1);
    dm_ids_free(&ids);
    free(copy);
}

#define TOKEN(id, content, special)                                                                                    \
    "{\"id\": " #id ", \"content\": \"" content "\", \"special\": " #special ", \"normalized\": true}"

/* All three become U+00C5. In some of the orders it is the last of the tokenizer's texts, so that a search that
 * continues after it reads memory that is not the tokenizer's. */
static void check_same_form(void)
{
    static const char nuls[] = "a\xC3\x85\0\0\0\0\0\0\0\0\0\0\0\0b";
    static const struct {
        const char *added;
        int32_t id;
    } cases[] = {{TOKEN(4, "\xE2\x84\xAB", false) "," TOKEN(5, "\xC3\x85", false), 4},
                 {TOKEN(4, "\xE2\x84\xAB", false) "," TOKEN(5, "\xC3\x85", true), 5},
                 {TOKEN(4, "\xC3\x85", false) "," TOKEN(5, "\xE2\x84\xAB", false), 4},
                 {TOKEN(4, "\xC3\x85", false) "," TOKEN(5, "\xE2\x84\xAB", false) "," TOKEN(6, "A\xCC\x8A", false), 4},
                 {TOKEN(4, "\xC3\x85", false) "," TOKEN(5, "A\xCC\x8A", false) "," TOKEN(6, "\xE2\x84\xAB", true), 6},
                 {TOKEN(6, "A\xCC\x8A", false) "," TOKEN(5, "\xE2\x84\xAB", false) "," TOKEN(4, "\xC3\x85", false), 6}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_tokenizer *t = open_with(cases[i].added, "{\"type\": \"NFC\"}");
        if (t == NULL)
            return;
        const int32_t want[] = {0, cases[i].id, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1};
        encodes(t, nuls, sizeof nuls - 1, want, sizeof want / sizeof *want);
        for (size_t n = 3; n < sizeof nuls - 2; n++)
            encodes(t, nuls, n, want, n - 1);
        dm_tokenizer_close(&t);
    }
}

/* The longest token at each place, by looking at every one. */
static uint32_t longest(const dm_tokenizer *t, const char *s, size_t n)
{
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i < t->n_added; i++) {
        const dm_added_token *a = &t->added[i];
        if (a->size <= n && memcmp(t->text + a->offset, s, a->size) == 0 &&
            (best == UINT32_MAX || a->size > t->added[best].size))
            best = (uint32_t)i;
    }
    return best;
}

static uint32_t state = 1;

static uint32_t below(uint32_t n)
{
    state = state * 1664525 + 1013904223;
    return (state >> 16) % n;
}

static void check_search(void)
{
    for (int round = 0; round < 300; round++) {
        const size_t n_added = 1 + below(12);
        dm_tokenizer *t = NULL;
        dm_error err;
        if (!CK(dm_tokenizer_create(&t, n_added, 4096, 0, n_added, &err) == DM_OK))
            return;
        for (size_t i = 0; i < n_added; i++) {
            char text[16];
            const size_t size = 1 + below(8);
            for (size_t k = 0; k < size; k++)
                text[k] = (char)('a' + below(2));
            if (dm_tokenizer_find(t, text, size) < 0 && dm_tokenizer_add(t, (int32_t)i, text, size, DM_TOKEN_ADDED))
                t->added[t->n_added++] =
                    (dm_added_token){.offset = t->offset[i], .size = (uint32_t)size, .id = (int32_t)i};
        }
        CK(dm_tokenizer_finish(t, &err) == DM_OK);
        char s[64];
        const size_t n = below(sizeof s);
        for (size_t k = 0; k < n; k++)
            s[k] = (char)('a' + below(round % 3 ? 2 : 3));
        dm_added_match *matches = NULL;
        size_t n_matches = 0, seen = 0;
        CK(dm_added_find(&t->raw, s, n, &matches, &n_matches, &err) == DM_OK);
        for (size_t at = n; at-- > 0;) {
            const uint32_t want = longest(t, s + at, n - at);
            if (want == UINT32_MAX)
                continue;
            CK_MSG(seen < n_matches && matches[seen].at == at && matches[seen].token == want,
                   "round %d: no token %u at byte %zu", round, (unsigned)want, at);
            seen++;
        }
        CK(seen == n_matches);
        free(matches);
        dm_tokenizer_close(&t);
    }
}

/* Tokens that take the spaces beside them: the same whether these were passed over before or not. */
static void check_spaces(void)
{
    dm_tokenizer *t =
        open_with("{\"id\": 4, \"content\": \"<x>\", \"special\": true, \"rstrip\": true, \"lstrip\": true}, "
                  "{\"id\": 5, \"content\": \" \", \"special\": true, \"rstrip\": true}, "
                  "{\"id\": 6, \"content\": \"bb\", \"special\": true, \"single_word\": true}",
                  "null");
    static const int32_t want[] = {0, 4, 1}, runs[] = {0, 5, 5, 5, 5, 1}, words[] = {1, 1, 0, 5, 6};

    if (t == NULL)
        return;
    encodes(t, "a<x>b", 5, want, 3);
    encodes(t, "a    b", 6, runs, 6);
    encodes(t, "bba bb", 6, words, 5);
    dm_tokenizer_close(&t);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/dm-added-%ld.json", (long)getpid());
    check_same_form();
    check_search();
    check_spaces();
    unlink(path);
    return ck_done("tokenizer_added");
}
