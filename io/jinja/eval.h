/* A rendering under way. Functions that can fail return false when they did; the error is in the state then. */
#ifndef DM_IO_JINJA_EVAL_H
#define DM_IO_JINJA_EVAL_H

#include "io/jinja/ast.h"

#define JINJA_NESTED 400       /* calls of evaluation within each other, macros' included */
#define JINJA_RANGE_MAX 100000 /* items of range(), as in jinja2's sandbox */
#define JINJA_ARGUMENTS 16     /* of a filter, test, method or function */

typedef struct jinja_binding {
    uint16_t variable;
    jinja_value value;
} jinja_binding;

/* The variables of one scope. */
typedef struct jinja_frame {
    struct jinja_frame *outer;
    jinja_binding *items; /* [n] */
    size_t n, capacity;
} jinja_frame;

typedef enum jinja_flow { JINJA_GO_ON, JINJA_LEAVE, JINJA_NEXT } jinja_flow;

typedef struct jinja_eval {
    const dm_jinja *j;
    jinja_arena *arena;
    jinja_frame *frame;
    jinja_text *out;
    uint32_t line; /* of the node at hand, for messages */
    unsigned depth;
    uint64_t steps;
    jinja_flow flow;
    dm_status status;
    dm_error *err;
} jinja_eval;

/* A macro, or the body of {% call %}. */
typedef struct jinja_macro {
    const jinja_node *node;
    jinja_frame *scope;
    const char *name;
    jinja_value caller; /* in effect where the macro is called */
} jinja_macro;

/* What a filter, test, method or function is called with. */
typedef struct jinja_call {
    jinja_value subject;              /* what it works on; of a function: undefined */
    jinja_value arg[JINJA_ARGUMENTS]; /* by parameter; undefined: not given */
    size_t n;                         /* of parameters "*": how many were given */
    const char **names;               /* of parameters "*": [n], NULL where there is none */
    const char *name;                 /* as the template calls it */
    uint8_t what;
} jinja_call;

bool jinja_fail(jinja_eval *e, dm_status status, const char *fmt, ...) DM_PRINTF(3, 4);
bool jinja_no_memory(jinja_eval *e);
/* Fails for what is undefined, and for two values that an operation does not take. */
bool jinja_undefined_error(jinja_eval *e, jinja_value v);
bool jinja_unfit(jinja_eval *e, const char *what, jinja_value a, jinja_value b);
/* Fails where v is text of the filter "safe": Python's Markup escapes what is added to it. */
bool jinja_not_safe(jinja_eval *e, jinja_value v, const char *what);
/* Counts `n` steps. */
bool jinja_charge(jinja_eval *e, size_t n);

bool jinja_evaluate(jinja_eval *e, const jinja_node *node, jinja_value *out);
bool jinja_execute(jinja_eval *e, const jinja_node *body); /* the statements in body->list */

/* What a name stands for where the rendering is. */
jinja_value jinja_look_up(const jinja_eval *e, uint16_t variable);
bool jinja_assign(jinja_eval *e, jinja_frame *frame, uint16_t variable, jinja_value value);
/* What `node` (a name, a member or names with commas) stands for is `value` in the innermost scope. */
bool jinja_assign_target(jinja_eval *e, const jinja_node *node, jinja_value value);
jinja_frame *jinja_frame_new(jinja_eval *e, jinja_frame *outer);

/* Calls what a node or a value says. */
bool jinja_call_node(jinja_eval *e, const jinja_node *node, jinja_value caller, jinja_value *out);
bool jinja_apply(jinja_eval *e, const jinja_builtin *b, const jinja_args *args, jinja_value subject, jinja_value *out);
/* With values that are there: [n], each of them positional. */
bool jinja_apply_values(jinja_eval *e, const jinja_builtin *b, jinja_value subject, const jinja_value *values, size_t n,
                        jinja_value *out);

/* a.name, a[key] as jinja2 looks them up; what is not there is undefined. */
bool jinja_member(jinja_eval *e, jinja_value a, const jinja_string *name, jinja_value *out);
bool jinja_item(jinja_eval *e, jinja_value a, jinja_value key, jinja_value *out);
bool jinja_slice(jinja_eval *e, const jinja_node *node, jinja_value *out); /* a[from:to:step], of a JINJA_SLICE */
bool jinja_loop_member(jinja_eval *e, jinja_value loop, const jinja_string *name, jinja_value *out);

/* The items that a for would go through, as a list. */
bool jinja_items(jinja_eval *e, jinja_value v, const jinja_list **out);
bool jinja_length(jinja_eval *e, jinja_value v, size_t *out);
bool jinja_contains(jinja_eval *e, jinja_value container, jinja_value item, bool *out);
bool jinja_order(jinja_eval *e, jinja_value a, jinja_value b, int *order);
bool jinja_compare_by(jinja_eval *e, jinja_op op, jinja_value a, jinja_value b, bool *out);
bool jinja_operate(jinja_eval *e, jinja_op op, jinja_value a, jinja_value b, jinja_value *out);
bool jinja_add(jinja_eval *e, jinja_value a, jinja_value b, jinja_value *out);

/* Methods: the table's entry for that type; *known: Python has one of that name. */
const jinja_builtin *jinja_method_find(jinja_type type, const char *name, size_t size, bool *known);

/* ---- making values; false: no memory ---- */

bool jinja_give_string(jinja_eval *e, const jinja_string *s, jinja_value *out);
bool jinja_give_text(jinja_eval *e, jinja_text *t, jinja_value *out);
bool jinja_give_list(jinja_eval *e, jinja_type type, const jinja_value *items, size_t n, jinja_value *out);
jinja_text jinja_text_new(jinja_eval *e);
jinja_value *jinja_values_new(jinja_eval *e, size_t n);
/* str(v) as a string. */
bool jinja_soft_string(jinja_eval *e, jinja_value v, const jinja_string **out);

/* ---- arguments ---- */

bool jinja_string_argument(jinja_eval *e, const jinja_call *c, size_t i, const jinja_string **out);
bool jinja_int_argument(jinja_eval *e, const jinja_call *c, size_t i, int64_t fallback, int64_t *out);

#endif
