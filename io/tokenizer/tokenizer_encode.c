/* From text to ids: added tokens, normalization, words. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"

/* ---- words ---- */

/* Cuts s by the patterns from `stage` on. */
static dm_status encode_stage(dm_bpe *e, size_t stage, const char *s, size_t n, dm_text_place place)
{
    const dm_tokenizer *t = e->t;
    if (stage == t->prefix_stage && s[0] != ' ' && place != DM_TEXT_INSIDE) {
        char *spaced = malloc(n + 1);
        if (spaced == NULL)
            return dm_fail(e->err, DM_ERR_MEMORY, "no memory to tokenize %zu bytes", n);
        spaced[0] = ' ';
        memcpy(spaced + 1, s, n);
        const dm_status status = encode_stage(e, stage, spaced, n + 1, place);
        free(spaced);
        return status;
    }
    if (stage == t->n_stages)
        return dm_bpe_word(e, s, n);
    for (size_t i = 0; i < n;) {
        const size_t end = dm_pattern_next(t->stages[stage], s, n, i);
        const dm_status status = encode_stage(e, stage + 1, s + i, end - i, i > 0 ? DM_TEXT_BEHIND_TOKEN : place);
        if (status != DM_OK)
            return status;
        i = end;
    }
    return DM_OK;
}

/* Each marked space begins a word. */
static dm_status encode_marked(dm_bpe *e, const char *s, size_t n)
{
    dm_status status = DM_OK;
    for (size_t begin = 0, end; begin < n && status == DM_OK; begin = end) {
        for (end = begin + 1; end < n && (s[end] != DM_SPACE[0] || n - end < DM_SPACE_SIZE ||
                                          memcmp(s + end, DM_SPACE, DM_SPACE_SIZE) != 0);)
            end++;
        status = dm_bpe_word(e, s + begin, end - begin);
    }
    return status;
}

/* What stands between added tokens, normalized. */
static dm_status encode_text(dm_bpe *e, const char *s, size_t n, dm_text_place place)
{
    const dm_tokenizer *t = e->t;
    if (n == 0)
        return DM_OK;
    if (!t->metaspace)
        return encode_stage(e, 0, s, n, place);
    const bool here = t->metaspace_prefix == DM_PREFIX_ALWAYS
                          ? place != DM_TEXT_INSIDE
                          : t->metaspace_prefix == DM_PREFIX_FIRST && place == DM_TEXT_FIRST;
    const bool marked = s[0] == ' ' || (n >= DM_SPACE_SIZE && memcmp(s, DM_SPACE, DM_SPACE_SIZE) == 0);
    char *text;
    size_t size;
    dm_status status = dm_mark_spaces(s, n, here && !marked, &text, &size, e->err);
    if (status == DM_OK)
        status = t->metaspace_split ? encode_marked(e, text, size) : dm_bpe_word(e, text, size);
    free(text);
    return status;
}

/* ---- added tokens ----
 *
 * Those that are special are recognised only where the caller says so (the library's encode_special_tokens false); the
 * others always, for they are words like those of the vocabulary. A special one that is ordinary text here still covers
 * its characters, as in the library: no other token begins inside it. */

/* Where the character before s[end] begins. */
static size_t character_before(const char *s, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)s[end] & 0xC0) == 0x80);
    return end;
}

static bool is_single_word(const char *s, size_t n, size_t begin, size_t end)
{
    uint32_t code;
    if (begin > 0) {
        const size_t before = character_before(s, begin);
        if (dm_utf8_decode(s + before, begin - before, &code) > 0 && dm_is_word(code))
            return false;
    }
    return dm_utf8_decode(s + end, n - end, &code) == 0 || !dm_is_word(code);
}

static dm_status encode_normalized(dm_bpe *e, const char *s, size_t n, bool special, dm_text_place place);

/* What stands between the added tokens of this round. */
static dm_status encode_gap(dm_bpe *e, bool normalized, bool special, const char *s, size_t n, dm_text_place place)
{
    if (n == 0)
        return DM_OK;
    return normalized ? encode_text(e, s, n, place) : encode_normalized(e, s, n, special, place);
}

/* Whether a token at [begin, end) has bytes of data. *data: of the first range that may still matter; begin ascends. */
static bool touches_data(const dm_mixed_text *x, size_t *data, size_t begin, size_t end)
{
    while (*data < x->n_data && x->data[*data].end <= begin)
        ++*data;
    return *data < x->n_data && x->data[*data].begin < end;
}

/* matches: from the last to the first. */
static dm_status split_at(dm_bpe *e, bool normalized, bool special, const char *s, size_t n, dm_text_place place,
                          const dm_added_match *matches, size_t n_matches)
{
    const dm_tokenizer *t = e->t;
    dm_mixed_text *mixed = normalized ? NULL : e->mixed;
    size_t done = 0, from = 0, spaces = 0, spaces_end = 0, data = 0;
    while (n_matches-- > 0) {
        const dm_added_token *a = &t->added[matches[n_matches].token];
        size_t begin = matches[n_matches].at, end = begin + a->size;
        if (begin < from)
            continue;
        from = end;
        const bool is_special = t->flags[a->id] & DM_TOKEN_SPECIAL;
        if ((is_special && (!special || (mixed != NULL && touches_data(mixed, &data, begin, end)))) ||
            (a->single_word && !is_single_word(s, n, begin, end)))
            continue;
        const bool watched = mixed != NULL && end == mixed->watch;
        uint32_t code;
        while (a->lstrip && begin > done) {
            const size_t before = character_before(s, begin);
            if (dm_utf8_decode(s + before, begin - before, &code) == 0 || !dm_is_space(code))
                break;
            begin = before;
        }
        if (a->rstrip) {
            if (end < spaces || end > spaces_end) { /* else within spaces that were passed over already */
                spaces = spaces_end = end;
                for (size_t step;
                     (step = dm_utf8_decode(s + spaces_end, n - spaces_end, &code)) > 0 && dm_is_space(code);)
                    spaces_end += step;
            }
            end = spaces_end;
        }
        dm_status status = encode_gap(e, normalized, special, s + done, begin > done ? begin - done : 0,
                                      done > 0 ? DM_TEXT_BEHIND_TOKEN : place);
        if (status == DM_OK)
            status = dm_ids_push(e->out, a->id, e->err);
        if (status != DM_OK)
            return status;
        if (watched)
            mixed->watched = e->out->size;
        done = end;
    }
    if (!normalized)
        e->ends_with_token = done > 0 && done == n;
    return encode_gap(e, normalized, special, s + done, n - done, done > 0 ? DM_TEXT_BEHIND_TOKEN : place);
}

static dm_status split_added(dm_bpe *e, bool normalized, bool special, const char *s, size_t n, dm_text_place place)
{
    dm_added_match *matches;
    size_t n_matches;
    dm_status status = dm_added_find(normalized ? &e->t->normal : &e->t->raw, s, n, &matches, &n_matches, e->err);
    if (status == DM_OK)
        status = split_at(e, normalized, special, s, n, place, matches, n_matches);
    free(matches);
    return status;
}

static dm_status encode_normalized(dm_bpe *e, const char *s, size_t n, bool special, dm_text_place place)
{
    char *normal;
    size_t size;
    dm_status status = dm_tokenizer_normalize(e->t, s, n, place, &normal, &size, e->err);
    if (normal != NULL) {
        s = normal;
        n = size;
    }
    if (status == DM_OK)
        status = split_added(e, true, special, s, n, place);
    free(normal);
    return status;
}

static dm_status encode(const dm_tokenizer *t, const char *text, size_t size, bool special, dm_text_place place,
                        dm_ids *out, dm_error *err)
{
    const size_t valid = dm_utf8_check(text, size);
    if (valid < size)
        return dm_fail(err, DM_ERR_INPUT, "byte %zu of the text is not valid UTF-8", valid);
    dm_bpe e = {.t = t, .out = out, .err = err};
    const dm_status status = split_added(&e, false, special, text, size, place);
    dm_bpe_close(&e);
    return status;
}

dm_status dm_tokenizer_encode(const dm_tokenizer *t, const char *text, size_t size, bool special, dm_ids *out,
                              dm_error *err)
{
    return encode(t, text, size, special, DM_TEXT_FIRST, out, err);
}

dm_status dm_tokenizer_encode_part(const dm_tokenizer *t, const char *text, size_t size, dm_text_place place,
                                   dm_ids *out, dm_error *err)
{
    return encode(t, text, size, false, place, out, err);
}

/* Whether data holds the text of a special token that is matched in normalized text, where what is data is lost. */
static dm_status check_normalized(const dm_tokenizer *t, const dm_mixed_text *x, dm_error *err)
{
    bool any = false;
    for (size_t i = 0; i < t->n_added && !any; i++)
        any = t->added[i].normalized && (t->flags[t->added[i].id] & DM_TOKEN_SPECIAL);
    for (size_t i = 0; i < x->n_data && any; i++) {
        char *normal;
        const char *s = x->text + x->data[i].begin;
        size_t size = x->data[i].end - x->data[i].begin, n = 0;
        dm_added_match *matches = NULL;
        dm_status status = dm_tokenizer_normalize(t, s, size, DM_TEXT_BEHIND_TOKEN, &normal, &size, err);
        if (status == DM_OK)
            status = dm_added_find(&t->normal, normal != NULL ? normal : s,
                                   normal != NULL ? size : x->data[i].end - x->data[i].begin, &matches, &n, err);
        for (size_t k = 0; k < n && status == DM_OK; k++)
            if (t->flags[t->added[matches[k].token].id] & DM_TOKEN_SPECIAL)
                status = dm_fail(err, DM_ERR_UNSUPPORTED,
                                 "a message holds the text of the special token %s, which this tokenizer would take "
                                 "for the token",
                                 dm_tokenizer_token(t, t->added[matches[k].token].id, NULL));
        free(matches);
        free(normal);
        if (status != DM_OK)
            return status;
    }
    return DM_OK;
}

dm_status dm_tokenizer_encode_mixed(const dm_tokenizer *t, dm_mixed_text *x, dm_text_place *place, dm_ids *ids,
                                    dm_error *err)
{
    const size_t valid = dm_utf8_check(x->text, x->size);
    x->watched = SIZE_MAX;
    if (valid < x->size)
        return dm_fail(err, DM_ERR_INPUT, "byte %zu of the text is not valid UTF-8", valid);
    if (x->size == 0)
        return DM_OK;
    dm_bpe e = {.t = t, .out = ids, .err = err, .mixed = x};
    dm_status status = check_normalized(t, x, err);
    if (status == DM_OK)
        status = split_added(&e, false, true, x->text, x->size, *place);
    dm_bpe_close(&e);
    *place = e.ends_with_token ? DM_TEXT_BEHIND_TOKEN : DM_TEXT_INSIDE;
    return status;
}
