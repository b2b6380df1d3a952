/* Options as a table over a struct: one row says how an option is called, read from text, checked, written and
 * explained. The library has one such table (model/train/options.def), each subcommand has its own. */
#ifndef DM_MODEL_OPTION_H
#define DM_MODEL_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/text.h"
#include "dmpo.h"

typedef struct dm_option {
    dmpo_option_info info;
    size_t offset; /* of the field in the options struct */
} dm_option;

/* The offset of a field whose type fits the row; another type does not compile. */
#define DM_TYPED_OFFSET(type, options, field) _Generic(((options *)0)->field, type : offsetof(options, field))

/* Rows of a table over the struct `options`. What follows `value`: the line of help, then whatever else of
 * dmpo_option_info the option has, designated (.low = 0, .high = 1, .legal = "0 to 1"). The fields are:
 *   TEXT const char *    INTEGER int64_t    SEED, BYTES uint64_t    REAL double    FLAG bool
 *   AUTO int: -1 means that the program decides    CHOICE int, or an enum: the index of a name in `choices` */
#define DM_ROW(kind, at, called, ...)                                                                                  \
    {                                                                                                                  \
        .info = {.name = called, .type = DMPO_OPTION_##kind, __VA_ARGS__}, .offset = at                                \
    }
#define DM_OPTION_TEXT(options, field, name, value, ...)                                                               \
    DM_ROW(TEXT, DM_TYPED_OFFSET(const char *, options, field), name, .metavar = value, .help = __VA_ARGS__)
#define DM_OPTION_INTEGER(options, field, name, value, ...)                                                            \
    DM_ROW(INTEGER, DM_TYPED_OFFSET(int64_t, options, field), name, .metavar = value, .help = __VA_ARGS__)
#define DM_OPTION_SEED(options, field, name, value, ...)                                                               \
    DM_ROW(SEED, DM_TYPED_OFFSET(uint64_t, options, field), name, .metavar = value, .help = __VA_ARGS__)
#define DM_OPTION_BYTES(options, field, name, value, ...)                                                              \
    DM_ROW(BYTES, DM_TYPED_OFFSET(uint64_t, options, field), name, .metavar = value, .help = __VA_ARGS__)
#define DM_OPTION_REAL(options, field, name, value, ...)                                                               \
    DM_ROW(REAL, DM_TYPED_OFFSET(double, options, field), name, .metavar = value, .help = __VA_ARGS__)
#define DM_OPTION_FLAG(options, field, name, ...)                                                                      \
    DM_ROW(FLAG, DM_TYPED_OFFSET(bool, options, field), name, .help = __VA_ARGS__)
#define DM_OPTION_AUTO(options, field, name, ...)                                                                      \
    DM_ROW(AUTO, DM_TYPED_OFFSET(int, options, field), name, .help = __VA_ARGS__)
#define DM_OPTION_CHOICE(options, field, name, value, names, ...)                                                      \
    DM_ROW(CHOICE,                                                                                                     \
           _Generic(((options *)0)->field, int                                                                         \
                    : offsetof(options, field), unsigned                                                               \
                    : offsetof(options, field)),                                                                       \
           name, .metavar = value, .choices = names, .help = __VA_ARGS__)

/* The value is the path of a file or directory: by the option's metavar, DIR, FILE or PATH. */
bool dm_option_is_path(const dm_option *o);

/* The row called name[0..size) of a table that ends with a row without a name; NULL: there is none. */
const dm_option *dm_option_find(const dm_option *table, const char *name, size_t size);

/* Reads `text` into the field, or refuses it, naming the option, and leaves the field as it was. A field of type TEXT
 * keeps the pointer. */
dm_status dm_option_set(const dm_option *o, void *options, const char *text, dm_error *err);

/* Whether the field is in the option's range. */
dm_status dm_option_check(const dm_option *o, const void *options, dm_error *err);

/* Whether the field has the same value in both structs; not for TEXT. */
bool dm_option_same(const dm_option *o, const void *a, const void *b);

/* Appends the field as text that dm_option_set reads back to the same value; false: it has none (TEXT that is NULL). */
bool dm_option_text(dm_text *out, const dm_option *o, const void *options);

#endif
