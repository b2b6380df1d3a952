#include "io/tokenizer/tokenizer_pieces.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/unicode.h"

typedef struct piece_list {
    const dm_piece *pieces;
    size_t n;
    const char *file, *list;
    dm_error *err;
} piece_list;

static dm_status bad_piece(const piece_list *p, size_t i, const char *what)
{
    return dm_fail(p->err, DM_ERR_INPUT, "%s: %s[%zu], \"%.*s\", %s", p->file, p->list, i,
                   p->pieces[i].size < 80 ? (int)p->pieces[i].size : 80, p->pieces[i].text, what);
}

static dm_status check_piece(const piece_list *p, size_t i)
{
    const dm_piece *s = &p->pieces[i];
    if (s->type < DM_PIECE_NORMAL || s->type > DM_PIECE_BYTE)
        return dm_fail(p->err, DM_ERR_INPUT, "%s: %s[%zu] has type %d, must be from 1 to 6", p->file, p->list, i,
                       s->type);
    if (s->size > DM_PIECE_MAX)
        return dm_fail(p->err, DM_ERR_UNSUPPORTED, "%s: %s[%zu] has %zu bytes, at most %d are supported", p->file,
                       p->list, i, s->size, DM_PIECE_MAX);
    if (s->size > 0 && (memchr(s->text, '\0', s->size) != NULL || dm_utf8_check(s->text, s->size) < s->size))
        return dm_fail(p->err, DM_ERR_INPUT, "%s: %s[%zu] is not text: it has a NUL or invalid UTF-8", p->file, p->list,
                       i);
    if (!isfinite(s->score))
        return bad_piece(p, i, "has a score that is not a finite number");
    if (s->type == DM_PIECE_BYTE && dm_token_byte(s->text, s->size) < 0)
        return bad_piece(p, i, "is of type byte, must be like <0x0A>");
    return DM_OK;
}

static dm_status add_piece(dm_tokenizer *t, const piece_list *p, size_t i, bool user_normalized)
{
    const dm_piece *s = &p->pieces[i];
    uint8_t flags = DM_TOKEN_VOCAB;
    if (s->size == 0)
        return DM_OK;
    switch (s->type) {
    case DM_PIECE_NORMAL:
        flags |= DM_TOKEN_PIECE;
        break;
    case DM_PIECE_UNUSED:
        flags |= DM_TOKEN_PIECE | DM_TOKEN_UNUSED;
        break;
    case DM_PIECE_UNKNOWN:
    case DM_PIECE_CONTROL:
        flags |= DM_TOKEN_ADDED | DM_TOKEN_SPECIAL;
        break;
    case DM_PIECE_USER:
        flags |= DM_TOKEN_ADDED;
        break;
    default:
        break;
    }
    const int32_t other = dm_tokenizer_find(t, s->text, s->size);
    if (!dm_tokenizer_add(t, (int32_t)i, s->text, s->size, flags)) {
        char message[48];
        snprintf(message, sizeof message, "occurs twice: number %d is the same", (int)other);
        return bad_piece(p, i, message);
    }
    t->scores[i] = s->score;
    if (s->type == DM_PIECE_UNKNOWN && t->unknown < 0)
        t->unknown = (int32_t)i;
    if (flags & DM_TOKEN_ADDED)
        t->added[t->n_added++] = (dm_added_token){.offset = t->offset[i],
                                                  .size = (uint32_t)s->size,
                                                  .id = (int32_t)i,
                                                  .normalized = s->type == DM_PIECE_USER && user_normalized};
    return DM_OK;
}

static dm_status add_extra(dm_tokenizer *t, const dm_extra_token *x, dm_error *err)
{
    const int32_t other = dm_tokenizer_find(t, x->text, x->size);

    if (other == x->id && (t->flags[other] & DM_TOKEN_ADDED)) /* a control symbol, which the list repeats */
        return DM_OK;
    if (other >= 0 && other != x->id)
        return dm_json_fail(x->doc, x->at, err, "added token \"%.80s\" has id %d here and %d in the tokenizer's model",
                            x->text, (int)x->id, (int)other);
    if (!dm_tokenizer_add(t, x->id, x->text, x->size, (uint8_t)(DM_TOKEN_ADDED | (x->special ? DM_TOKEN_SPECIAL : 0))))
        return dm_json_fail(x->doc, x->at, err, "added token \"%.80s\" has id %d, which is that of \"%.80s\"", x->text,
                            (int)x->id, dm_tokenizer_token(t, x->id, NULL));
    t->added[t->n_added++] = (dm_added_token){.offset = t->offset[x->id],
                                              .size = (uint32_t)x->size,
                                              .id = x->id,
                                              .lstrip = x->lstrip,
                                              .rstrip = x->rstrip,
                                              .single_word = x->single_word,
                                              .normalized = x->normalized};
    return x->normalized ? dm_tokenizer_normal_form(t, &t->added[t->n_added - 1], err) : DM_OK;
}

static dm_status check_bytes(const dm_tokenizer *t, const piece_list *p)
{
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] < 0)
            return dm_fail(p->err, DM_ERR_INPUT, "%s: byte fallback needs a piece for every byte, <0x%02X> is missing",
                           p->file, (unsigned)b);
    return DM_OK;
}

dm_status dm_tokenizer_set_bos(dm_tokenizer *t, int32_t bos, dm_error *err)
{
    const char *token = dm_tokenizer_token(t, bos, NULL);
    dm_text out = {0}, name = {0};
    if (token == NULL)
        return DM_OK;
    dm_text_json_string(&name, token, strlen(token));
    const char *s = name.failed ? "" : name.data;
    dm_text_print(&out,
                  "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": %s, \"type_id\": 0}}, "
                  "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"SpecialToken\": {\"id\": %s, "
                  "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": %s, "
                  "\"type_id\": 1}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {%s: "
                  "{\"id\": %s, \"ids\": [%d], \"tokens\": [%s]}}}",
                  s, s, s, s, s, (int)bos, s);
    const bool failed = out.failed || name.failed;
    dm_text_free(&name);
    if (failed) {
        dm_text_free(&out);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a tokenizer");
    }
    free(t->post_processor);
    t->post_processor = out.data;
    return DM_OK;
}

dm_status dm_tokenizer_from_pieces(dm_tokenizer **out, const dm_piece *pieces, size_t n, const dm_piece_rules *rules,
                                   const char *file, const char *list, dm_error *err)
{
    const piece_list p = {pieces, n, file, list, err};
    const size_t n_extra = rules->extra ? rules->extra->n : 0;
    size_t text = 0, added = n_extra, room = n;
    dm_tokenizer *t = NULL;
    dm_status status = DM_OK;
    *out = NULL;
    for (size_t i = 0; i < n_extra; i++) {
        const dm_extra_token *x = &rules->extra->token[i];
        text += DM_ADDED_ROOM(x->size);
        room = (size_t)x->id < room ? room : (size_t)x->id + 1;
    }
    for (size_t i = 0; i < n && status == DM_OK; i++) {
        status = check_piece(&p, i);
        text += pieces[i].size + 1;
        added += pieces[i].type >= DM_PIECE_UNKNOWN && pieces[i].type <= DM_PIECE_USER;
    }
    if (status == DM_OK) {
        status = dm_tokenizer_create(&t, room, text, 0, added, err);
        if (status != DM_OK)
            return dm_fail_context(err, status, "%s", file);
        t->scores = calloc(room + 1, sizeof *t->scores);
        if (t->scores == NULL)
            status = dm_fail(err, DM_ERR_MEMORY, "no memory for a tokenizer of %zu ids", n);
    }
    for (size_t i = 0; i < n && status == DM_OK; i++)
        status = add_piece(t, &p, i, rules->user_normalized);
    if (status == DM_OK) {
        t->bpe = DM_BPE_SCORES;
        t->byte_fallback = rules->byte_fallback;
        t->fuse_unknown = true;
        t->squeeze = rules->squeeze;
        t->prepend = rules->prefix;
        t->strip = rules->prefix || rules->squeeze;
        t->replace = t->decode_bytes = true;
    }
    /* SentencePiece has no added tokens: text beside them is as in transformers */
    if (status == DM_OK && n_extra) {
        t->squeeze = t->prepend = t->replace = false;
        t->metaspace = true;
        t->metaspace_prefix = rules->extra->prefix;
        t->strip = t->metaspace_prefix != DM_PREFIX_NEVER;
    }
    for (size_t i = 0; i < n_extra && status == DM_OK; i++)
        status = add_extra(t, &rules->extra->token[i], err);
    if (status == DM_OK) {
        status = dm_tokenizer_finish(t, err);
        if (status == DM_OK && t->byte_fallback)
            status = check_bytes(t, &p);
        if (status == DM_OK)
            status = dm_tokenizer_set_bos(t, rules->bos, err);
    }
    if (status != DM_OK) {
        dm_tokenizer_close(&t);
        return status;
    }
    *out = t;
    return DM_OK;
}
