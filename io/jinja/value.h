/* The values of a template: what Python's would be, in an arena that lives as long as one rendering.
 *
 * Values do not change once they are made, except namespaces; lists, strings and their slices may share memory.
 *
 * Every byte of text knows where it is from. An origin is 0 for the template's own text and for what is computed
 * (numbers, `true`), or a number that the maker of the value chose: message i has i + 1. So the rendered text says
 * which of its bytes a message contributed, however they were stripped, split, joined or written as JSON. */
#ifndef DM_IO_JINJA_VALUE_H
#define DM_IO_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/error.h"
#include "core/numbers/block.h"

/* ---- memory ---- */

#define JINJA_MEMORY ((size_t)256 << 20) /* of one rendering */

typedef struct jinja_arena {
    dm_block *chain;
    char *first, *first_end; /* of the first piece, which jinja_reset keeps */
    char *next, *end;        /* free bytes of the piece at hand */
    size_t total;            /* bytes asked for */
    size_t limit;
} jinja_arena;

/* `size` bytes aligned to 16, not zeroed; NULL: no memory, or more than the arena's limit. */
void *jinja_alloc(jinja_arena *a, size_t size);
void jinja_reset(jinja_arena *a);
void jinja_free(jinja_arena *a);

/* ---- values ---- */

typedef enum jinja_type {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_GENERATOR, /* what map, select and others give: gone through once, always true */
    JINJA_VIEW,      /* items(), keys() and values() of a dict */
    JINJA_RANGE,
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,    /* the variable `loop` */
    JINJA_MACRO,   /* and `caller` */
    JINJA_METHOD,  /* x.name of a string, list or dict */
    JINJA_FUNCTION /* a global function */
} jinja_type;

#define JINJA_GENERATED 0x80000000u /* an origin's flag: inside of {% generation %} */
#define JINJA_ORIGIN 0x7FFFFFFFu    /* the rest of it */

typedef struct jinja_run {
    uint32_t end; /* the byte after the run; it begins where the one before it ends */
    uint32_t origin;
} jinja_run;

typedef struct jinja_string {
    const char *data; /* UTF-8, may hold NUL */
    uint32_t size;
    uint32_t n_runs;       /* 0: all bytes have `origin` */
    const jinja_run *runs; /* [n_runs], the last one ends at `size` */
    uint32_t origin;
    bool safe; /* of the filter safe: Python's Markup, which escapes text that is added to it */
} jinja_string;

typedef struct jinja_value jinja_value;
typedef struct jinja_list jinja_list;
typedef struct jinja_dict jinja_dict;

struct jinja_value {
    jinja_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const jinja_string *string;
        const jinja_list *list; /* of everything from a list to a range */
        jinja_dict *dict;       /* of a namespace, too */
        const char *missing;    /* of what is undefined: what, for messages; NULL: not known */
        void *object;
    } as;
};

struct jinja_list {
    const jinja_value *items;
    size_t n;
};

typedef struct jinja_entry {
    jinja_value key, value;
} jinja_entry;

struct jinja_dict {
    jinja_entry *entries; /* in the order they came */
    size_t n, capacity;
};

typedef struct jinja_method {
    jinja_value object;
    const struct jinja_builtin *method;
} jinja_method;

static inline jinja_value jinja_none(void)
{
    return (jinja_value){.type = JINJA_NONE};
}

static inline jinja_value jinja_bool(bool b)
{
    return (jinja_value){.type = JINJA_BOOL, .as.boolean = b};
}

static inline jinja_value jinja_int(int64_t i)
{
    return (jinja_value){.type = JINJA_INT, .as.integer = i};
}

static inline jinja_value jinja_float(double x)
{
    return (jinja_value){.type = JINJA_FLOAT, .as.number = x};
}

static inline jinja_value jinja_undefined(const char *what)
{
    return (jinja_value){.type = JINJA_UNDEFINED, .as.missing = what};
}

static inline bool jinja_is_list(jinja_value v)
{
    return v.type == JINJA_LIST || v.type == JINJA_TUPLE;
}

/* Can be indexed and sliced, except text. */
static inline bool jinja_is_indexed(jinja_value v)
{
    return jinja_is_list(v) || v.type == JINJA_RANGE;
}

/* int, float and bool are numbers, as in Python. */
static inline bool jinja_is_number(jinja_value v)
{
    return v.type == JINJA_BOOL || v.type == JINJA_INT || v.type == JINJA_FLOAT;
}

static inline double jinja_as_double(jinja_value v)
{
    return v.type == JINJA_FLOAT ? v.as.number : v.type == JINJA_INT ? (double)v.as.integer : v.as.boolean;
}

/* Of an int or bool. */
static inline int64_t jinja_as_int(jinja_value v)
{
    return v.type == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

/* What a message calls a value's type: Python's name. */
const char *jinja_type_name(jinja_value v);
bool jinja_truth(jinja_value v);
/* Python's ==. Deeper than 100 levels of lists is unequal. */
bool jinja_equal(jinja_value a, jinja_value b);
/* *order: below, at or above 0. false: the two have no order. */
bool jinja_compare(jinja_value a, jinja_value b, int *order);
/* The entry, or NULL. */
jinja_entry *jinja_dict_find(const jinja_dict *d, jinja_value key);
jinja_entry *jinja_dict_find_text(const jinja_dict *d, const char *key, size_t size);

static inline bool jinja_text_is(const jinja_string *s, const char *text, size_t size)
{
    return s->size == size && memcmp(s->data, text, size) == 0;
}

/* ---- text that is put together ---- */

/* A text with origins that grows in the arena. */
typedef struct jinja_text {
    jinja_arena *arena;
    char *data;
    size_t size, capacity, limit;
    jinja_run *runs;
    size_t n_runs, runs_capacity;
    uint32_t flags; /* joined to every origin that is added: JINJA_GENERATED or 0 */
    bool failed;    /* no memory, or beyond the limit: sticky */
} jinja_text;

void jinja_text_add(jinja_text *t, const char *data, size_t size, uint32_t origin);
void jinja_text_string(jinja_text *t, const jinja_string *s);
/* Bytes [from, to) of s. */
void jinja_text_part(jinja_text *t, const jinja_string *s, size_t from, size_t to);
/* What was added, as a string that shares its memory; add nothing more to the text. NULL: no memory. */
const jinja_string *jinja_text_finish(jinja_text *t);

/* ---- making ---- */

/* All give NULL when there is no memory. `data` is not copied. */
const jinja_string *jinja_string_of(jinja_arena *a, const char *data, size_t size, uint32_t origin);
/* Bytes [from, to) of s, the memory shared. */
const jinja_string *jinja_part(jinja_arena *a, const jinja_string *s, size_t from, size_t to);
/* The origin of the byte at `at`. */
uint32_t jinja_origin_at(const jinja_string *s, size_t at);
jinja_dict *jinja_dict_new(jinja_arena *a, size_t capacity);
/* Adds, or replaces the value of an equal key. false: no memory. */
bool jinja_dict_set(jinja_arena *a, jinja_dict *d, jinja_value key, jinja_value value);

/* ---- as text ---- */

typedef enum jinja_form { JINJA_STR, JINJA_REPR } jinja_form;

/* Appends str(v) or repr(v). NULL, or what cannot be written, for a message. */
const char *jinja_write(jinja_text *t, jinja_value v, jinja_form form);

/* How json.dumps writes. */
typedef struct jinja_json {
    bool ascii, sorted;
    const char *indent; /* of one level; NULL: all in one line */
    size_t indent_size;
    const jinja_string *item, *key; /* separators, NULL: the usual ones */
} jinja_json;

const char *jinja_write_json(jinja_text *t, jinja_value v, const jinja_json *form);

#define JINJA_NUMBER_TEXT 40
/* repr() of a float. */
void jinja_float_text(char buf[JINJA_NUMBER_TEXT], double x);

#endif
