/* Strict JSON (RFC 8259) in, bounded in size and depth; every value knows its line and column.
 *
 * Rejected with file:line:column: anything after the value, comments, trailing commas, NaN, leading zeros,
 * unescaped control characters, lone surrogates, invalid UTF-8, duplicate keys, a byte order mark, depth over
 * DM_JSON_DEPTH, files over DM_JSON_BYTES. The document lives in its own mapped memory, returned to the system
 * by dm_json_close, so that loading leaves no trace in the memory plan. */
#ifndef DM_IO_JSON_H
#define DM_IO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/sha256.h"
#include "io/json_writer.h"

#define DM_JSON_DEPTH 64
#define DM_JSON_BYTES ((size_t)1 << 30)

typedef enum dm_json_type {
    DM_JSON_NULL,
    DM_JSON_BOOL,
    DM_JSON_NUMBER,
    DM_JSON_STRING,
    DM_JSON_ARRAY,
    DM_JSON_OBJECT
} dm_json_type;

typedef struct dm_json dm_json;
struct dm_json { /* 64 bytes (48 where pointers have 32 bits): most of the memory that a document takes */
    dm_json_type type : 8;
    bool boolean;
    bool is_integer;       /* the number is written without fraction or exponent and fits int64 */
    uint32_t line, column; /* of the value's first byte, from 1; column in bytes */
    uint32_t key_length;
    const char *key;  /* name inside the parent object, else NULL */
    const char *text; /* string value, decoded UTF-8, NUL-terminated (may hold NUL inside); of other types NULL */
    double number;
    union {
        int64_t integer; /* of a number that is_integer */
        size_t length;   /* bytes of text; number of children of an array or object */
    };
    const dm_json *child; /* first element or member, else NULL */
    const dm_json *next;  /* next sibling */
};

typedef struct dm_json_doc dm_json_doc; /* owns every value below its root */

/* Parses text[0..size); `name` (a path) is copied for messages. On failure *out is NULL. */
dm_status dm_json_parse(dm_json_doc **out, const char *text, size_t size, const char *name, dm_error *err);
dm_status dm_json_read(dm_json_doc **out, const char *path, dm_error *err);
/* One value per line (JSON lines); the root is an array of them, each with its true line number. Empty lines are
 * skipped. */
dm_status dm_json_parse_lines(dm_json_doc **out, const char *text, size_t size, const char *name, dm_error *err);
/* A file whose first non-blank byte is '[' or that holds one whole value is JSON, else JSON lines. */
dm_status dm_json_read_any(dm_json_doc **out, const char *path, dm_error *err);
/* The same for data, which may come from a pipe or, as "-", from standard input: it is read once, and its bytes are
 * hashed. */
dm_status dm_json_read_data(dm_json_doc **out, const char *path, char sha256[DM_SHA256_HEX], dm_error *err);
void dm_json_close(dm_json_doc **doc);
const dm_json *dm_json_root(const dm_json_doc *doc);
const char *dm_json_name(const dm_json_doc *doc);

/* Member of an object, NULL when absent (or `v` is not an object). */
const dm_json *dm_json_get(const dm_json *v, const char *key);
bool dm_json_is(const dm_json *v, const char *text); /* v is a string equal to text */

/* Fails with "name:line:column: message", for a complaint about `v`. */
dm_status dm_json_fail(const dm_json_doc *doc, const dm_json *v, dm_error *err, const char *fmt, ...) DM_PRINTF(4, 5);

/* Typed members. `fallback` != NULL makes the key optional (absent or null gives *fallback). Out of
 * [low, high] or of another type is an error naming key, value and legal range. */
dm_status dm_json_get_int(const dm_json_doc *doc, const dm_json *v, const char *key, int64_t low, int64_t high,
                          const int64_t *fallback, int64_t *out, dm_error *err);
dm_status dm_json_get_double(const dm_json_doc *doc, const dm_json *v, const char *key, double low, double high,
                             const double *fallback, double *out, dm_error *err);
dm_status dm_json_get_bool(const dm_json_doc *doc, const dm_json *v, const char *key, const bool *fallback, bool *out,
                           dm_error *err);

/* A list of token ids, each from 0 to 2^31 - 1, to out[list->length]. Returns the first value that is not one; `list`
 * itself where it is no list or empty; NULL: all are. */
const dm_json *dm_json_token_ids(const dm_json *list, int32_t *out);

#endif
