/* What the two halves of the parser share. */
#ifndef DM_IO_JINJA_PARSE_H
#define DM_IO_JINJA_PARSE_H

#include "io/jinja/ast.h"
#include "io/jinja/lex.h"

typedef struct jinja_parser {
    dm_jinja *j;
    const jinja_token *at; /* the token at hand */
    unsigned depth;
    unsigned loops;   /* around the statement at hand, within its macro or call */
    unsigned macros;  /* around it */
    dm_status status; /* of the first error */
    dm_error *err;
} jinja_parser;

/* Passes the token at hand; the last one stays. */
static inline void jinja_next(jinja_parser *p)
{
    p->at += p->at->kind != JINJA_T_END;
}

/* All of these give NULL or false once there is an error. */
bool jinja_parse_fail(jinja_parser *p, dm_status status, const char *fmt, ...) DM_PRINTF(3, 4);
bool jinja_unexpected(jinja_parser *p, const char *wanted);
void *jinja_parse_alloc(jinja_parser *p, size_t size);
jinja_node *jinja_node_new(jinja_parser *p, jinja_kind kind);
/* Appends to node->list, whose capacity is the power of two at or above node->n. */
bool jinja_append(jinja_parser *p, jinja_node *node, jinja_node *child);
bool jinja_enter(jinja_parser *p); /* one level deeper; p->depth-- leaves it */

bool jinja_is_operator(const jinja_token *t, const char *text);
bool jinja_is_name(const jinja_token *t, const char *text);
/* Passes the token where it is that one. */
bool jinja_skip(jinja_parser *p, const char *op);
bool jinja_skip_name(jinja_parser *p, const char *name);
bool jinja_expect(jinja_parser *p, const char *op);

jinja_node *jinja_parse_expression(jinja_parser *p);
/* Expressions separated by commas make a tuple. conditions: "a if b else c" may be among them. */
jinja_node *jinja_parse_tuple(jinja_parser *p, bool conditions);
jinja_node *jinja_parse_unary(jinja_parser *p);
/* | filter | filter ... after `node`; begins: the name of the first stands here without |. */
jinja_node *jinja_parse_filters(jinja_parser *p, jinja_node *node, bool begins);
/* What a for or set assigns to: a name, names with commas, or (members) name.name. */
jinja_node *jinja_parse_target(jinja_parser *p, bool members);
bool jinja_parse_arguments(jinja_parser *p, jinja_node *node);

#endif
