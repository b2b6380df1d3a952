/* JSON out: objects and arrays written in order, their commas and quotes kept here.
 *
 *     dm_json_writer w = {.out = &text};
 *     dm_json_open_object(&w, NULL);
 *     dm_json_put_int(&w, "step", 12);
 *     dm_json_put_double(&w, "loss", 0.693);
 *     dm_json_close_value(&w);                      {"step": 12, "loss": 0.693}
 *
 * `key` is the member's name in an object and NULL in an array or at the top. When memory runs out, out->failed
 * is set; check it once, at the end. */
#ifndef DM_IO_JSON_WRITER_H
#define DM_IO_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/text.h"

#define DM_JSON_WRITER_DEPTH 32

typedef struct dm_json_writer {
    dm_text *out;
    unsigned depth;
    char close[DM_JSON_WRITER_DEPTH]; /* '}' or ']' of each open value */
    bool any[DM_JSON_WRITER_DEPTH];   /* whether it holds something already */
    bool new_line;                    /* the next value begins on a line of its own */
    bool lines;                       /* so does every value, until it is false again */
} dm_json_writer;

void dm_json_open_object(dm_json_writer *w, const char *key);
void dm_json_open_array(dm_json_writer *w, const char *key);
void dm_json_close_value(dm_json_writer *w); /* the innermost open object or array */

/* The next value, or the end of the innermost one, begins on a new line, indented by two blanks a level. */
void dm_json_new_line(dm_json_writer *w);

void dm_json_put_string(dm_json_writer *w, const char *key, const char *text); /* NULL: null */
void dm_json_put_bytes(dm_json_writer *w, const char *key, const char *bytes, size_t size);
void dm_json_put_int(dm_json_writer *w, const char *key, int64_t value);
void dm_json_put_uint(dm_json_writer *w, const char *key, uint64_t value);
void dm_json_put_double(dm_json_writer *w, const char *key, double value); /* not finite: null */
void dm_json_put_float(dm_json_writer *w, const char *key, float value);   /* shortest that reads back to it, or null */
void dm_json_put_fixed(dm_json_writer *w, const char *key, double value, int decimals); /* 0 to 9 of them */
void dm_json_put_bool(dm_json_writer *w, const char *key, bool value);
void dm_json_put_null(dm_json_writer *w, const char *key);
void dm_json_put_raw(dm_json_writer *w, const char *key, const char *json); /* a whole value, verbatim */

/* ---- single values ---- */
/* Quoted and escaped; controls as \u00XX, bytes that are not UTF-8 as U+FFFD. */
void dm_text_json_string(dm_text *t, const char *bytes, size_t size);
void dm_text_json_double(dm_text *t, double x); /* shortest decimal that reads back to x; not finite: null */

#endif
