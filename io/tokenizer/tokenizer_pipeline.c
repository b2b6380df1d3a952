/* Reads normalizer, pre-tokenizer and decoder of tokenizer.json. */
#include <stdio.h>

#include "io/tokenizer/tokenizer_load.h"

dm_status dm_load_unsupported(const dm_tokenizer_loader *l, const dm_json *v, const char *what)
{
    return dm_fail(l->err, DM_ERR_UNSUPPORTED, "%s:%u:%u: %s", dm_json_name(l->doc), (unsigned)v->line,
                   (unsigned)v->column, what);
}

dm_status dm_load_unsupported_type(const dm_tokenizer_loader *l, const dm_json *v, const char *what, const char *known)
{
    const dm_json *type = dm_json_get(v, "type");
    char message[256];
    snprintf(message, sizeof message, "%s \"%.80s\" is not supported: %s", what,
             type != NULL && type->type == DM_JSON_STRING ? type->text : "(without type)", known);
    return dm_load_unsupported(l, v, message);
}

bool dm_load_is_null(const dm_json *v)
{
    return v == NULL || v->type == DM_JSON_NULL;
}

bool dm_load_is_empty(const dm_json *v)
{
    return dm_load_is_null(v) || dm_json_is(v, "");
}

dm_status dm_load_flag(const dm_tokenizer_loader *l, const dm_json *v, const char *key, bool fallback, bool *out)
{
    return dm_json_get_bool(l->doc, v, key, &fallback, out, l->err);
}

/* ---- normalizer ---- */

/* A member `key` that is the object {"String": text}. */
static bool is_pattern(const dm_json *v, const char *text)
{
    return dm_json_is(dm_json_get(dm_json_get(v, "pattern"), "String"), text);
}

static dm_status read_normalizer(dm_tokenizer_loader *l, const dm_json *v)
{
    dm_tokenizer *t = l->t;
    if (dm_load_is_null(v))
        return DM_OK;
    const dm_json *type = dm_json_get(v, "type"), *list = dm_json_get(v, "normalizers");
    if (dm_json_is(type, "NFC")) {
        t->nfc = true;
        return DM_OK;
    }
    if (dm_json_is(type, "Prepend")) {
        if (!dm_json_is(dm_json_get(v, "prepend"), DM_SPACE) || t->prepend)
            return dm_load_unsupported(l, v, "a Prepend must be the only one and put \"" DM_SPACE "\" in front");
        t->prepend = true;
        return DM_OK;
    }
    if (dm_json_is(type, "Replace")) {
        if (!is_pattern(v, " ") || !dm_json_is(dm_json_get(v, "content"), DM_SPACE))
            return dm_load_unsupported(l, v, "a Replace must put \"" DM_SPACE "\" for the String \" \"");
        t->replace = true;
        return DM_OK;
    }
    if (!dm_json_is(type, "Sequence") || list == NULL || list->type != DM_JSON_ARRAY)
        return dm_load_unsupported_type(l, v, "normalizer", "null, NFC, Prepend, Replace and a Sequence of them are");
    for (const dm_json *n = list->child; n != NULL; n = n->next) {
        const dm_status status = read_normalizer(l, n);
        if (status != DM_OK)
            return status;
    }
    return DM_OK;
}

/* ---- pre-tokenizer ---- */

static dm_status add_stage(dm_tokenizer_loader *l, const dm_json *v, dm_pattern pattern)
{
    dm_tokenizer *t = l->t;
    if (t->n_stages == DM_STAGES_MAX)
        return dm_load_unsupported(l, v, "more than 8 pre-tokenizers are not supported");
    t->stages[t->n_stages++] = pattern;
    return DM_OK;
}

static dm_status read_split(dm_tokenizer_loader *l, const dm_json *v)
{
    bool invert;
    const dm_status status = dm_load_flag(l, v, "invert", false, &invert);
    if (status != DM_OK)
        return status;
    const dm_json *behavior = dm_json_get(v, "behavior"), *regex = dm_json_get(dm_json_get(v, "pattern"), "Regex");
    /* the patterns match everything, so keeping matches and removing what lies between them is the same */
    if (!(dm_json_is(behavior, "Isolated") && !invert) && !(dm_json_is(behavior, "Removed") && invert))
        return dm_load_unsupported(l, v, "a Split must have \"behavior\": \"Isolated\" and \"invert\": false");
    dm_pattern pattern;
    if (regex == NULL || regex->type != DM_JSON_STRING)
        return dm_load_unsupported(l, v, "a Split must have a \"pattern\" with a \"Regex\"");
    if (!dm_pattern_recognise(regex->text, &pattern)) {
        char message[512];
        snprintf(message, sizeof message,
                 "the pattern %.300s is not supported: only those of GPT-2, Llama-3 "
                 "(cl100k) and Qwen2 are",
                 regex->text);
        return dm_load_unsupported(l, regex, message);
    }
    return add_stage(l, v, pattern);
}

/* "prepend_scheme", or the "add_prefix_space" of older files. */
static dm_status read_prefix(const dm_tokenizer_loader *l, const dm_json *v, dm_prefix *out)
{
    const dm_json *scheme = dm_json_get(v, "prepend_scheme");
    bool space;
    const dm_status status = dm_load_flag(l, v, "add_prefix_space", true, &space);
    if (status != DM_OK)
        return status;
    *out = space ? DM_PREFIX_ALWAYS : DM_PREFIX_NEVER;
    if (dm_load_is_null(scheme))
        return DM_OK;
    if (dm_json_is(scheme, "never"))
        *out = DM_PREFIX_NEVER;
    else if (!space || (!dm_json_is(scheme, "first") && !dm_json_is(scheme, "always")))
        return dm_json_fail(l->doc, scheme, l->err,
                            "\"prepend_scheme\" must be \"first\", \"always\" or \"never\", and never where "
                            "\"add_prefix_space\" is false");
    else
        *out = dm_json_is(scheme, "first") ? DM_PREFIX_FIRST : DM_PREFIX_ALWAYS;
    return DM_OK;
}

static dm_status check_replacement(const dm_tokenizer_loader *l, const dm_json *v)
{
    return dm_json_is(dm_json_get(v, "replacement"), DM_SPACE)
               ? DM_OK
               : dm_load_unsupported(l, v, "the \"replacement\" of a Metaspace must be \"" DM_SPACE "\"");
}

static dm_status read_metaspace(dm_tokenizer_loader *l, const dm_json *v)
{
    dm_tokenizer *t = l->t;
    dm_status status = check_replacement(l, v);
    if (status == DM_OK && t->n_stages > 0)
        status = dm_load_unsupported(l, v, "a Metaspace after another pre-tokenizer is not supported");
    if (status == DM_OK)
        status = read_prefix(l, v, &t->metaspace_prefix);
    if (status == DM_OK)
        status = dm_load_flag(l, v, "split", true, &t->metaspace_split);
    t->metaspace = true;
    return status;
}

/* *done: ByteLevel or Metaspace has been read, nothing may follow it. */
static dm_status read_pre_tokenizer(dm_tokenizer_loader *l, const dm_json *v, bool *done)
{
    if (*done)
        return dm_load_unsupported(l, v, "a pre-tokenizer after ByteLevel or Metaspace is not supported");
    const dm_json *type = dm_json_get(v, "type"), *list = dm_json_get(v, "pretokenizers");
    bool flag;
    dm_status status = DM_OK;
    if (dm_json_is(type, "Sequence") && list != NULL && list->type == DM_JSON_ARRAY) {
        for (const dm_json *p = list->child; p != NULL && status == DM_OK; p = p->next)
            status = read_pre_tokenizer(l, p, done);
        return status;
    }
    if (dm_json_is(type, "Split"))
        return read_split(l, v);
    if (dm_json_is(type, "Digits")) {
        status = dm_load_flag(l, v, "individual_digits", false, &flag);
        return status != DM_OK ? status : add_stage(l, v, flag ? DM_PATTERN_DIGIT : DM_PATTERN_DIGITS);
    }
    const bool metaspace = dm_json_is(type, "Metaspace");
    if (!metaspace && !dm_json_is(type, "ByteLevel"))
        return dm_load_unsupported_type(l, v, "pre-tokenizer",
                                        "ByteLevel, Metaspace, Split, Digits and a Sequence of them are");
    *done = true;
    if (metaspace)
        return read_metaspace(l, v);
    l->t->bpe = DM_BPE_BYTES;
    status = dm_load_flag(l, v, "add_prefix_space", true, &flag);
    if (status != DM_OK)
        return status;
    if (flag)
        l->t->prefix_stage = l->t->n_stages;
    status = dm_load_flag(l, v, "use_regex", true, &l->t->prefix_pattern);
    if (status == DM_OK && l->t->prefix_pattern)
        status = add_stage(l, v, DM_PATTERN_GPT2);
    return status;
}

/* ---- decoder ---- */

typedef struct decoder_parts {
    bool replace, fuse;
} decoder_parts;

static dm_status read_strip(dm_tokenizer_loader *l, const dm_json *v, const decoder_parts *parts)
{
    static const int64_t none = 0;
    int64_t start, stop;
    dm_status status = dm_json_get_int(l->doc, v, "start", 0, INT32_MAX, &none, &start, l->err);
    if (status == DM_OK)
        status = dm_json_get_int(l->doc, v, "stop", 0, INT32_MAX, &none, &stop, l->err);
    if (status != DM_OK)
        return status;
    if (!dm_json_is(dm_json_get(v, "content"), " ") || start > 1 || stop != 0 || !parts->fuse)
        return dm_load_unsupported(l, v, "a Strip must follow Fuse and take one \" \" from the start");
    l->t->strip = start == 1;
    return DM_OK;
}

static dm_status read_decoder(dm_tokenizer_loader *l, const dm_json *v, decoder_parts *parts)
{
    dm_tokenizer *t = l->t;
    const dm_json *type = dm_json_get(v, "type"), *list = dm_json_get(v, "decoders");
    dm_status status = DM_OK;
    if (dm_json_is(type, "Sequence") && list != NULL && list->type == DM_JSON_ARRAY) {
        for (const dm_json *d = list->child; d != NULL && status == DM_OK; d = d->next)
            status = read_decoder(l, d, parts);
    } else if (dm_json_is(type, "Metaspace")) {
        dm_prefix prefix = DM_PREFIX_NEVER;
        parts->replace = t->decode_metaspace = true;
        status = check_replacement(l, v);
        if (status == DM_OK)
            status = read_prefix(l, v, &prefix);
        t->strip = prefix != DM_PREFIX_NEVER;
    } else if (dm_json_is(type, "Replace")) {
        parts->replace = true;
        if (!is_pattern(v, DM_SPACE) || !dm_json_is(dm_json_get(v, "content"), " "))
            status = dm_load_unsupported(l, v, "a Replace must put \" \" for the String \"" DM_SPACE "\"");
    } else if (dm_json_is(type, "ByteFallback")) {
        t->decode_bytes = true;
    } else if (dm_json_is(type, "Fuse")) {
        parts->fuse = true;
    } else if (dm_json_is(type, "Strip")) {
        status = read_strip(l, v, parts);
    } else {
        status = dm_load_unsupported_type(l, v, "decoder",
                                          "without ByteLevel among the pre-tokenizers, Metaspace, Replace, "
                                          "ByteFallback, Fuse, Strip and a Sequence of them are");
    }
    return status;
}

dm_status dm_load_pipeline(dm_tokenizer_loader *l)
{
    dm_tokenizer *t = l->t;
    const dm_json *root = dm_json_root(l->doc);
    const dm_json *pre = dm_json_get(root, "pre_tokenizer"), *decoder = dm_json_get(root, "decoder");
    bool done = false;
    t->bpe = DM_BPE_CHARACTERS;
    dm_status status = read_normalizer(l, dm_json_get(root, "normalizer"));
    if (status == DM_OK && t->prepend && !t->replace)
        status = dm_load_unsupported(l, dm_json_get(root, "normalizer"), "a Prepend without Replace is not supported");
    if (status == DM_OK && !dm_load_is_null(pre))
        status = read_pre_tokenizer(l, pre, &done);
    if (status == DM_OK)
        status = dm_load_flag(l, l->model, "ignore_merges", false, &t->ignore_merges);
    if (status == DM_OK)
        status = dm_load_flag(l, l->model, "byte_fallback", false, &t->byte_fallback);
    if (status == DM_OK)
        status = dm_load_flag(l, l->model, "fuse_unk", false, &t->fuse_unknown);
    if (status != DM_OK)
        return status;
    if (t->bpe == DM_BPE_BYTES) {
        if (t->byte_fallback || t->replace)
            return dm_load_unsupported(l, pre, "ByteLevel with \"byte_fallback\", Prepend or Replace is not supported");
        if (dm_load_is_null(decoder) || !dm_json_is(dm_json_get(decoder, "type"), "ByteLevel"))
            return dm_load_unsupported_type(l, decoder != NULL ? decoder : root, "decoder",
                                            "with a ByteLevel pre-tokenizer only ByteLevel is");
        return DM_OK;
    }
    if (t->n_stages > 0)
        return dm_load_unsupported(l, pre, "Split and Digits are supported only with ByteLevel after them");
    decoder_parts parts = {false, false};
    if (dm_load_is_null(decoder))
        return dm_load_unsupported(l, decoder != NULL ? decoder : root,
                                   "a decoder is needed: ByteLevel, Metaspace or a Sequence");
    status = read_decoder(l, decoder, &parts);
    if (status == DM_OK && (!parts.replace || !(t->replace || t->metaspace)))
        status = dm_load_unsupported(l, decoder,
                                     "spaces must be \"" DM_SPACE "\" in tokens: by Metaspace, or by Replace among "
                                     "the normalizers and decoders");
    return status;
}
