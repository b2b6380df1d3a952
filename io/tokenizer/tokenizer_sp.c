/* Reads SentencePiece's tokenizer.model: a protobuf message of pieces with scores. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/tokenizer/tokenizer_pieces.h"

#define MODEL_BYTES ((size_t)1 << 28)
#define PIECES_FIRST 1024

/* ---- protobuf ---- */

typedef enum wire { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_GROUP, WIRE_GROUP_END, WIRE_32 } wire;

typedef struct message { /* what is left of it */
    const unsigned char *p, *end;
    const unsigned char *file; /* where the file begins, for messages */
    const char *path;
    dm_error *err;
} message;

typedef struct field {
    uint32_t number;
    wire type;
    uint64_t varint; /* also the bits of WIRE_32 and WIRE_64 */
    const unsigned char *bytes;
    size_t size;
    size_t at; /* offset in the file */
} field;

static dm_status broken(const message *m, const char *what)
{
    return dm_fail(m->err, DM_ERR_INPUT, "%s: byte %zu: %s", m->path, (size_t)(m->p - m->file), what);
}

static dm_status read_varint(message *m, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (m->p == m->end)
            return broken(m, "the message ends inside a number");
        const unsigned char c = *m->p++;
        if (shift == 63 && c > 1)
            return broken(m, "a number has more than 64 bits");
        *out |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80)
            return DM_OK;
    }
    return broken(m, "a number has more than 64 bits");
}

static uint64_t little_endian(const unsigned char *p, size_t size)
{
    uint64_t x = 0;
    for (size_t i = size; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

/* The next field; there is one (m->p < m->end). */
static dm_status next_field(message *m, field *f)
{
    uint64_t key, size = 0;
    *f = (field){.at = (size_t)(m->p - m->file)};
    dm_status status = read_varint(m, &key);
    if (status != DM_OK)
        return status;
    f->number = (uint32_t)(key >> 3);
    f->type = (wire)(key & 7);
    if (key >> 3 == 0 || key >> 3 >= (uint64_t)1 << 29)
        return broken(m, "no field has this number: this is not a SentencePiece model");
    switch (f->type) {
    case WIRE_VARINT:
        return read_varint(m, &f->varint);
    case WIRE_BYTES:
        status = read_varint(m, &size);
        break;
    case WIRE_32:
    case WIRE_64:
        size = f->type == WIRE_32 ? 4 : 8;
        break;
    default:
        return broken(m, "a field of a kind that SentencePiece does not use: this is not a SentencePiece model");
    }
    if (status != DM_OK)
        return status;
    if (size > (size_t)(m->end - m->p))
        return broken(m, "a field is longer than what is left of the message");
    f->bytes = m->p;
    f->size = (size_t)size;
    if (f->type != WIRE_BYTES)
        f->varint = little_endian(f->bytes, f->size);
    m->p += size;
    return DM_OK;
}

static message inside(const message *m, const field *f)
{
    return (message){f->bytes, f->bytes + f->size, m->file, m->path, m->err};
}

/* The field must be of this kind. */
static dm_status expect(const message *m, const field *f, wire type, const char *name)
{
    return f->type == type ? DM_OK
                           : dm_fail(m->err, DM_ERR_INPUT, "%s: byte %zu: %s is stored as another kind of value",
                                     m->path, f->at, name);
}

/* ---- what SentencePiece has in it ---- */

typedef struct model {
    dm_piece *pieces;
    size_t n, capacity;
    uint64_t model_type, byte_fallback, suffix; /* of trainer_spec */
    int64_t bos;
    uint64_t prefix, squeeze, escape; /* of normalizer_spec */
    bool mapped, denormalized;        /* they have a map of characters */
    char name[32];                    /* of that map */
} model;

static dm_status read_piece(const message *whole, const field *piece, model *o)
{
    message m = inside(whole, piece);
    dm_piece s = {.text = "", .type = DM_PIECE_NORMAL};
    while (m.p < m.end) {
        field f;
        dm_status status = next_field(&m, &f);
        if (status == DM_OK && f.number == 1) {
            status = expect(&m, &f, WIRE_BYTES, "a piece's text");
            s.text = (const char *)f.bytes;
            s.size = f.size;
        } else if (status == DM_OK && f.number == 2) {
            const uint32_t bits = (uint32_t)f.varint;
            status = expect(&m, &f, WIRE_32, "a piece's score");
            memcpy(&s.score, &bits, sizeof bits);
        } else if (status == DM_OK && f.number == 3) {
            status = expect(&m, &f, WIRE_VARINT, "a piece's type");
            s.type = f.varint <= DM_PIECE_BYTE ? (int)f.varint : 0;
        }
        if (status != DM_OK)
            return status;
    }
    if (s.size == 0)
        return dm_fail(m.err, DM_ERR_INPUT, "%s: byte %zu: piece %zu has no text", m.path, piece->at, o->n);
    if (o->n == o->capacity) {
        const size_t capacity = o->capacity > 0 ? 2 * o->capacity : PIECES_FIRST;
        dm_piece *pieces = realloc(o->pieces, capacity * sizeof *pieces);
        if (pieces == NULL)
            return dm_fail(m.err, DM_ERR_MEMORY, "no memory to read %s", m.path);
        o->pieces = pieces;
        o->capacity = capacity;
    }
    o->pieces[o->n++] = s;
    return DM_OK;
}

typedef struct number_field {
    uint32_t number;
    const char *name;
    uint64_t *out;
} number_field;

/* Those fields of a message that are numbers and wanted. */
static dm_status read_numbers(message m, const number_field *wanted, size_t n)
{
    while (m.p < m.end) {
        field f;
        dm_status status = next_field(&m, &f);
        for (size_t i = 0; i < n && status == DM_OK; i++)
            if (wanted[i].number == f.number) {
                status = expect(&m, &f, WIRE_VARINT, wanted[i].name);
                *wanted[i].out = f.varint;
            }
        if (status != DM_OK)
            return status;
    }
    return DM_OK;
}

/* *has_map: there is a precompiled map of characters; its name goes to `name`. */
static dm_status read_map(message m, bool *has_map, char *name, size_t room)
{
    while (m.p < m.end) {
        field f;
        const dm_status status = next_field(&m, &f);
        if (status != DM_OK)
            return status;
        if (f.number == 1 && f.type == WIRE_BYTES && name != NULL)
            snprintf(name, room, "%.*s", f.size < room ? (int)f.size : (int)room - 1, (const char *)f.bytes);
        if (f.number == 2 && f.type == WIRE_BYTES && f.size > 0)
            *has_map = true;
    }
    return DM_OK;
}

static dm_status read_model(message m, model *o)
{
    uint64_t bos = (uint64_t)o->bos;
    const number_field trainer[] = {{3, "trainer_spec.model_type", &o->model_type},
                                    {24, "trainer_spec.treat_whitespace_as_suffix", &o->suffix},
                                    {35, "trainer_spec.byte_fallback", &o->byte_fallback},
                                    {41, "trainer_spec.bos_id", &bos}};
    const number_field normalizer[] = {{3, "normalizer_spec.add_dummy_prefix", &o->prefix},
                                       {4, "normalizer_spec.remove_extra_whitespaces", &o->squeeze},
                                       {5, "normalizer_spec.escape_whitespaces", &o->escape}};
    while (m.p < m.end) {
        field f;
        dm_status status = next_field(&m, &f);
        const char *const names[] = {
            "", "pieces", "trainer_spec", "normalizer_spec", "self_test_data", "denormalizer_spec"};
        if (status == DM_OK && f.number >= 1 && f.number <= 5)
            status = expect(&m, &f, WIRE_BYTES, names[f.number]);
        if (status == DM_OK && f.number == 1)
            status = read_piece(&m, &f, o);
        if (status == DM_OK && f.number == 2)
            status = read_numbers(inside(&m, &f), trainer, sizeof trainer / sizeof *trainer);
        if (status == DM_OK && f.number == 3)
            status = read_numbers(inside(&m, &f), normalizer, sizeof normalizer / sizeof *normalizer);
        if (status == DM_OK && f.number == 3)
            status = read_map(inside(&m, &f), &o->mapped, o->name, sizeof o->name);
        if (status == DM_OK && f.number == 5)
            status = read_map(inside(&m, &f), &o->denormalized, NULL, 0);
        if (status != DM_OK)
            return status;
    }
    o->bos = (int64_t)bos;
    return DM_OK;
}

static dm_status check_model(const model *o, const char *path, dm_error *err)
{
    static const char *const types[] = {"0", "Unigram", "BPE", "Word", "Char"};
    if (o->n == 0)
        return dm_fail(err, DM_ERR_INPUT, "%s has no pieces: this is not a SentencePiece model", path);
    if (o->model_type != 2)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: the model type is %s: only BPE is supported", path,
                       o->model_type < 5 ? types[o->model_type] : "unknown");
    if (o->mapped || o->denormalized)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: normalization \"%s\" maps characters, which is not supported: only \"identity\" is", path,
                       o->name);
    if (o->suffix != 0)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: treat_whitespace_as_suffix is not supported", path);
    if (o->escape == 0)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: escape_whitespaces false is not supported", path);
    return DM_OK;
}

dm_status dm_tokenizer_open_sentencepiece(dm_tokenizer **out, const char *path, dm_error *err)
{
    char *data;
    size_t size;
    *out = NULL;
    dm_status status = dm_file_read(path, MODEL_BYTES, &data, &size, err);
    if (status != DM_OK)
        return status;
    model o = {.model_type = 1, .bos = 1, .prefix = 1, .squeeze = 1, .escape = 1}; /* the defaults of the format */
    const unsigned char *p = (const unsigned char *)data;
    status = read_model((message){p, p + size, p, path, err}, &o);
    dm_extra_tokens extra = {0};
    if (status == DM_OK)
        status = check_model(&o, path, err);
    if (status == DM_OK)
        status = dm_extra_tokens_read(&extra, path, err);
    if (status == DM_OK) {
        const bool bos = o.bos >= 0 && (uint64_t)o.bos < o.n && o.pieces[o.bos].type == DM_PIECE_CONTROL;
        const dm_piece_rules rules = {.prefix = o.prefix != 0,
                                      .squeeze = o.squeeze != 0,
                                      .byte_fallback = o.byte_fallback != 0,
                                      .user_normalized = true,
                                      .bos = bos ? (int32_t)o.bos : -1,
                                      .extra = &extra};
        status = dm_tokenizer_from_pieces(out, o.pieces, o.n, &rules, path, "piece", err);
    }
    dm_extra_tokens_free(&extra);
    free(o.pieces);
    free(data);
    return status;
}
