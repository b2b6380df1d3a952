/* A template as a tree, and what the parser, the evaluator and the tables of filters and tests share. */
#ifndef DM_IO_JINJA_AST_H
#define DM_IO_JINJA_AST_H

#include "io/jinja/jinja.h"
#include "io/jinja/value.h"

#define JINJA_DEPTH 100 /* of expressions and statements in the source */

typedef enum jinja_kind {
    /* expressions; the operands a, b, c and list[n] as said */
    JINJA_CONST,   /* value */
    JINJA_NAME,    /* variable */
    JINJA_ITEMS,   /* [list] */
    JINJA_TUPLES,  /* (list) */
    JINJA_PAIRS,   /* {list[0]: list[1], ...} */
    JINJA_ADD,     /* list[0] + list[1] + ...: strings are put together at once */
    JINJA_CONCAT,  /* list[0] ~ list[1] ~ ... */
    JINJA_BINARY,  /* a op b, op one of - * / // % ** */
    JINJA_NEGATE,  /* -a */
    JINJA_PLUS,    /* +a */
    JINJA_NOT,     /* not a */
    JINJA_AND,     /* a and b */
    JINJA_OR,      /* a or b */
    JINJA_COMPARE, /* list[0] ops[0] list[1] ops[1] list[2] ... */
    JINJA_COND,    /* a if b else c; c NULL: undefined */
    JINJA_ATTR,    /* a.text */
    JINJA_ITEM,    /* a[b] */
    JINJA_SLICE,   /* a[list[0]:list[1]:list[2]], each NULL where it is left out */
    JINJA_CALL,    /* a(args) */
    JINJA_FILTER,  /* a | builtin(args); a NULL: of a {% filter %} or {% set %} block */
    JINJA_TEST,    /* a is builtin(args) */
    /* statements; a body is list[n] */
    JINJA_TEXT,       /* value */
    JINJA_PRINT,      /* a */
    JINJA_IF,         /* if a: body; else: b, a JINJA_BODY, or NULL */
    JINJA_FOR,        /* for b in a if c: body; else: other */
    JINJA_SET,        /* set b = a */
    JINJA_SET_BLOCK,  /* set b, body; a: a filter or NULL */
    JINJA_MACRO_DEF,  /* variable, args, body */
    JINJA_CALL_BLOCK, /* a: the call; args of the caller; body */
    JINJA_FILTER_BLOCK,
    JINJA_GENERATION, /* body */
    JINJA_BODY,       /* body */
    JINJA_BREAK,
    JINJA_CONTINUE
} jinja_kind;

typedef enum jinja_op {
    JINJA_SUB,
    JINJA_MUL,
    JINJA_DIV,
    JINJA_FLOORDIV,
    JINJA_MOD,
    JINJA_POW,
    JINJA_EQ,
    JINJA_NE,
    JINJA_GT,
    JINJA_GE,
    JINJA_LT,
    JINJA_LE,
    JINJA_IN,
    JINJA_NOT_IN
} jinja_op;

typedef struct jinja_node jinja_node;

/* Of a call: values and, after the first n - n_named, the parameters that they name. Of a macro: parameters with their
 * defaults or NULL. */
typedef struct jinja_args {
    jinja_node **values;     /* [n] */
    const char **names;      /* [n], NULL: positional */
    const uint16_t *symbols; /* of a macro: [n], the parameters as variables */
    size_t n;
} jinja_args;

struct jinja_builtin;

struct jinja_node {
    jinja_kind kind;
    uint32_t line;
    uint16_t variable; /* its number in the template */
    uint8_t op;
    bool negated; /* JINJA_TEST: is not */
    jinja_node *a, *b, *c, *other;
    jinja_node **list;
    size_t n;
    uint8_t *ops;
    jinja_args *args;
    jinja_value value;
    const jinja_string *text;
    const struct jinja_builtin *builtin;
};

/* A filter, test, method or global function by its name. */
struct jinja_eval;
struct jinja_call;
typedef struct jinja_builtin {
    const char *name;
    const char *parameters; /* after the value it works on, "a b c"; "*": any number without names */
    uint8_t required;       /* how many of them must be given */
    uint8_t what;           /* tells functions apart that share their code */
    bool (*run)(struct jinja_eval *e, struct jinja_call *c, jinja_value *out);
} jinja_builtin;

const jinja_builtin *jinja_find(const jinja_builtin *table, const char *name, size_t size);
extern const jinja_builtin jinja_filters[], jinja_tests[], jinja_functions[]; /* end with a NULL name */

struct dm_jinja {
    jinja_arena arena; /* of everything below */
    char *where;       /* the template's name, for messages */
    jinja_node *root;
    const char **variables; /* [n_variables], by their numbers */
    size_t n_variables, variables_capacity;
    bool generation; /* has {% generation %} */
    struct {
        uint16_t loop, caller, date;
    } known;
};

/* The number of a variable; entered when it is new. -1: no memory or more than 65535. */
int jinja_variable(dm_jinja *j, const char *name, size_t size);

dm_status jinja_parse(dm_jinja *j, const char *source, size_t size, dm_error *err);

#endif
