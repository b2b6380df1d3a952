/* Expressions, with the precedence that jinja2 gives them. */
#include <stdarg.h>
#include <string.h>

#include "io/jinja/parse.h"

static jinja_node *parse_or(jinja_parser *p);

static jinja_node *unary_of(jinja_parser *p, jinja_kind kind, jinja_node *a)
{
    jinja_node *node = a != NULL ? jinja_node_new(p, kind) : NULL;
    if (node != NULL)
        node->a = a;
    return node;
}

static jinja_node *binary_of(jinja_parser *p, jinja_kind kind, jinja_op op, jinja_node *a, jinja_node *b)
{
    jinja_node *node = b != NULL ? unary_of(p, kind, a) : NULL;
    if (node != NULL) {
        node->b = b;
        node->op = (uint8_t)op;
    }
    return node;
}

static jinja_node *constant(jinja_parser *p, jinja_value value)
{
    jinja_node *node = jinja_node_new(p, JINJA_CONST);
    if (node != NULL)
        node->value = value;
    return node;
}

/* ---- primary ---- */

static jinja_node *parse_name(jinja_parser *p)
{
    static const struct {
        const char *name;
        jinja_value value;
    } words[] = {
        {"true", {.type = JINJA_BOOL, .as.boolean = true}},
        {"True", {.type = JINJA_BOOL, .as.boolean = true}},
        {"false", {.type = JINJA_BOOL, .as.boolean = false}},
        {"False", {.type = JINJA_BOOL, .as.boolean = false}},
        {"none", {.type = JINJA_NONE}},
        {"None", {.type = JINJA_NONE}},
    };
    jinja_node *node = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (jinja_is_name(p->at, words[i].name)) {
            node = constant(p, words[i].value);
            jinja_next(p);
            return node;
        }
    if (p->macros > 0 && (jinja_is_name(p->at, "varargs") || jinja_is_name(p->at, "kwargs"))) {
        jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "\"%.*s\" of a macro is not supported", (int)p->at->size, p->at->text);
        return NULL;
    }
    const int variable = jinja_variable(p->j, p->at->text, p->at->size);
    if (variable < 0)
        jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for its variables");
    else if ((node = jinja_node_new(p, JINJA_NAME)) != NULL)
        node->variable = (uint16_t)variable;
    jinja_next(p);
    return node;
}

/* Strings beside each other are one. */
static jinja_node *parse_string(jinja_parser *p)
{
    const jinja_token *first = p->at;
    size_t size = 0;
    for (; p->at->kind == JINJA_T_STRING; jinja_next(p))
        size += p->at->size;
    char *text = (char *)first->text;
    if (p->at - first > 1) {
        if ((text = jinja_parse_alloc(p, size + 1)) == NULL)
            return NULL;
        size = 0;
        for (const jinja_token *t = first; t < p->at; t++) {
            memcpy(text + size, t->text, t->size);
            size += t->size;
        }
    }
    const jinja_string *s = jinja_string_of(&p->j->arena, text, size, 0);
    if (s == NULL) {
        jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for a string");
        return NULL;
    }
    return constant(p, (jinja_value){.type = JINJA_STRING, .as.string = s});
}

static jinja_node *parse_list(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_ITEMS);
    jinja_next(p);
    while (node != NULL && !jinja_is_operator(p->at, "]")) {
        if ((node->n > 0 && !jinja_expect(p, ",")) || (node->n > 0 && jinja_is_operator(p->at, "]")))
            break;
        if (!jinja_append(p, node, jinja_parse_expression(p)))
            return NULL;
    }
    return jinja_expect(p, "]") ? node : NULL;
}

static jinja_node *parse_dict(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_PAIRS);
    jinja_next(p);
    while (node != NULL && !jinja_is_operator(p->at, "}")) {
        if ((node->n > 0 && !jinja_expect(p, ",")) || (node->n > 0 && jinja_is_operator(p->at, "}")))
            break;
        if (!jinja_append(p, node, jinja_parse_expression(p)) || !jinja_expect(p, ":") ||
            !jinja_append(p, node, jinja_parse_expression(p)))
            return NULL;
    }
    return jinja_expect(p, "}") ? node : NULL;
}

static jinja_node *parse_parenthesis(jinja_parser *p)
{
    jinja_node *node;
    jinja_next(p);
    if (jinja_skip(p, ")"))
        return jinja_node_new(p, JINJA_TUPLES);
    node = jinja_parse_tuple(p, true);
    return jinja_expect(p, ")") ? node : NULL;
}

static jinja_node *parse_primary(jinja_parser *p)
{
    const jinja_token *t = p->at;
    switch (t->kind) {
    case JINJA_T_NAME:
        return parse_name(p);
    case JINJA_T_STRING:
        return parse_string(p);
    case JINJA_T_INT:
        jinja_next(p);
        return constant(p, jinja_int(t->integer));
    case JINJA_T_FLOAT:
        jinja_next(p);
        return constant(p, jinja_float(t->number));
    default:
        if (jinja_is_operator(t, "("))
            return parse_parenthesis(p);
        if (jinja_is_operator(t, "["))
            return parse_list(p);
        if (jinja_is_operator(t, "{"))
            return parse_dict(p);
        jinja_unexpected(p, "an expression");
        return NULL;
    }
}

/* ---- what follows a primary ---- */

/* The name at hand, with a NUL after it. */
static const char *copy_name(jinja_parser *p)
{
    char *name = jinja_parse_alloc(p, p->at->size + 1);
    if (name != NULL) {
        memcpy(name, p->at->text, p->at->size);
        name[p->at->size] = '\0';
    }
    return name;
}

bool jinja_parse_arguments(jinja_parser *p, jinja_node *node)
{
    jinja_node *values[32];
    const char *names[32];
    size_t n = 0;
    if (!jinja_expect(p, "("))
        return false;
    while (!jinja_is_operator(p->at, ")")) {
        if ((n > 0 && !jinja_expect(p, ",")) || (n > 0 && jinja_is_operator(p->at, ")")))
            break;
        if (jinja_is_operator(p->at, "*") || jinja_is_operator(p->at, "**"))
            return jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "arguments with * are not supported");
        if (n == sizeof values / sizeof *values)
            return jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "a call has more than 32 arguments");
        names[n] = NULL;
        if (p->at->kind == JINJA_T_NAME && jinja_is_operator(p->at + 1, "=")) {
            if ((names[n] = copy_name(p)) == NULL)
                return false;
            p->at += 2;
        } else if (n > 0 && names[n - 1] != NULL) {
            return jinja_parse_fail(p, DM_ERR_INPUT, "an argument without a name follows one with a name");
        }
        if ((values[n++] = jinja_parse_expression(p)) == NULL)
            return false;
    }
    if (!jinja_expect(p, ")"))
        return false;
    jinja_args *args = node->args = jinja_parse_alloc(p, sizeof *args);
    if (args == NULL)
        return false;
    *args = (jinja_args){.n = n};
    if (n > 0 && ((args->values = jinja_parse_alloc(p, sizeof values)) == NULL ||
                  (args->names = jinja_parse_alloc(p, sizeof names)) == NULL))
        return false;
    if (n > 0) {
        memcpy(args->values, values, n * sizeof *values);
        memcpy(args->names, names, n * sizeof *names);
    }
    return true;
}

static jinja_node *parse_call(jinja_parser *p, jinja_node *callee)
{
    jinja_node *node = unary_of(p, JINJA_CALL, callee);
    return node != NULL && jinja_parse_arguments(p, node) ? node : NULL;
}

/* a[...]: an item or a slice. */
static jinja_node *parse_subscript(jinja_parser *p, jinja_node *a)
{
    jinja_node *node = unary_of(p, JINJA_ITEM, a), *part[3] = {NULL, NULL, NULL};
    size_t n = 0;
    jinja_next(p);
    while (node != NULL) {
        if (!jinja_is_operator(p->at, ":") && !jinja_is_operator(p->at, "]") &&
            (part[n] = jinja_parse_expression(p)) == NULL)
            return NULL;
        if (jinja_is_operator(p->at, ",")) {
            jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "a subscript of several parts is not supported");
            return NULL;
        }
        if (n == 2 || !jinja_skip(p, ":"))
            break;
        n++;
    }
    if (node == NULL || !jinja_is_operator(p->at, "]") || (n == 0 && part[0] == NULL)) {
        jinja_unexpected(p, "a subscript");
        return NULL;
    }
    jinja_next(p);
    if (n == 0) {
        node->b = part[0];
        return node;
    }
    node->kind = JINJA_SLICE;
    if ((node->list = jinja_parse_alloc(p, sizeof part)) == NULL)
        return NULL;
    memcpy(node->list, part, sizeof part);
    return node;
}

static jinja_node *parse_member(jinja_parser *p, jinja_node *a)
{
    jinja_node *node = unary_of(p, JINJA_ATTR, a);
    jinja_next(p);
    if (node != NULL && p->at->kind == JINJA_T_INT) {
        node->kind = JINJA_ITEM;
        node->b = constant(p, jinja_int(p->at->integer));
    } else if (node != NULL && p->at->kind == JINJA_T_NAME) {
        node->text = jinja_string_of(&p->j->arena, copy_name(p), p->at->size, 0);
        if (node->text == NULL)
            jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for a name");
    } else if (node != NULL) {
        jinja_unexpected(p, "a name after the dot");
    }
    jinja_next(p);
    return p->status == DM_OK ? node : NULL;
}

static jinja_node *parse_postfix(jinja_parser *p, jinja_node *node)
{
    while (node != NULL) {
        if (jinja_is_operator(p->at, "."))
            node = parse_member(p, node);
        else if (jinja_is_operator(p->at, "["))
            node = parse_subscript(p, node);
        else if (jinja_is_operator(p->at, "("))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

/* The table's entry of the name here, which is passed. */
static const jinja_builtin *parse_builtin(jinja_parser *p, const jinja_builtin *table, const char *what)
{
    if (p->at->kind != JINJA_T_NAME) {
        jinja_unexpected(p, what);
        return NULL;
    }
    const jinja_builtin *found = jinja_find(table, p->at->text, p->at->size);
    if (found == NULL)
        jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "%s \"%.*s\" is not supported", what, (int)p->at->size, p->at->text);
    jinja_next(p);
    return found;
}

jinja_node *jinja_parse_filters(jinja_parser *p, jinja_node *a, bool begins)
{
    while (begins || jinja_skip(p, "|")) {
        begins = false;
        jinja_node *node = jinja_node_new(p, JINJA_FILTER);
        if (node == NULL || (node->builtin = parse_builtin(p, jinja_filters, "the filter")) == NULL)
            return NULL;
        node->a = a;
        if (jinja_is_operator(p->at, "(") && !jinja_parse_arguments(p, node))
            return NULL;
        a = node;
    }
    return a;
}

/* Whether a test's one argument follows without parentheses. */
static bool is_argument(const jinja_token *t)
{
    return t->kind == JINJA_T_STRING || t->kind == JINJA_T_INT || t->kind == JINJA_T_FLOAT ||
           (t->kind == JINJA_T_NAME && !jinja_is_name(t, "else") && !jinja_is_name(t, "or") &&
            !jinja_is_name(t, "and")) ||
           jinja_is_operator(t, "[") || jinja_is_operator(t, "{");
}

static jinja_node *parse_test(jinja_parser *p, jinja_node *a)
{
    jinja_node *node = unary_of(p, JINJA_TEST, a);
    jinja_next(p);
    if (node == NULL)
        return NULL;
    node->negated = jinja_skip_name(p, "not");
    if ((node->builtin = parse_builtin(p, jinja_tests, "the test")) == NULL)
        return NULL;
    if (jinja_is_operator(p->at, "("))
        return jinja_parse_arguments(p, node) ? node : NULL;
    if (!is_argument(p->at))
        return node;
    if (jinja_is_name(p->at, "is")) {
        jinja_parse_fail(p, DM_ERR_INPUT, "tests with \"is\" cannot follow each other");
        return NULL;
    }
    jinja_node **value = jinja_parse_alloc(p, sizeof *value);
    const char **name = jinja_parse_alloc(p, sizeof *name);
    if (value == NULL || name == NULL || (node->args = jinja_parse_alloc(p, sizeof *node->args)) == NULL ||
        (*value = parse_postfix(p, parse_primary(p))) == NULL)
        return NULL;
    *name = NULL;
    *node->args = (jinja_args){.values = value, .names = name, .n = 1};
    return node;
}

static jinja_node *parse_filter_expression(jinja_parser *p, jinja_node *node)
{
    while (node != NULL) {
        if (jinja_is_operator(p->at, "|"))
            node = jinja_parse_filters(p, node, false);
        else if (jinja_is_name(p->at, "is"))
            node = parse_test(p, node);
        else if (jinja_is_operator(p->at, "("))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

/* ---- operators ---- */

static jinja_node *parse_signed(jinja_parser *p, bool filters)
{
    jinja_node *node;
    if (!jinja_enter(p))
        return NULL;
    if (jinja_is_operator(p->at, "-") || jinja_is_operator(p->at, "+")) {
        const jinja_kind kind = *p->at->text == '-' ? JINJA_NEGATE : JINJA_PLUS;
        jinja_next(p);
        node = unary_of(p, kind, parse_signed(p, false));
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    if (filters)
        node = parse_filter_expression(p, node);
    p->depth--;
    return node;
}

jinja_node *jinja_parse_unary(jinja_parser *p)
{
    return parse_signed(p, true);
}

static jinja_node *parse_power(jinja_parser *p)
{
    jinja_node *node = jinja_parse_unary(p);
    while (node != NULL && jinja_skip(p, "**"))
        node = binary_of(p, JINJA_BINARY, JINJA_POW, node, jinja_parse_unary(p));
    return node;
}

static jinja_node *parse_product(jinja_parser *p)
{
    static const struct {
        const char *text;
        jinja_op op;
    } ops[] = {{"*", JINJA_MUL}, {"/", JINJA_DIV}, {"//", JINJA_FLOORDIV}, {"%", JINJA_MOD}};
    jinja_node *node = parse_power(p);
    for (size_t i = 0; i < sizeof ops / sizeof *ops && node != NULL; i++)
        if (jinja_skip(p, ops[i].text)) {
            node = binary_of(p, JINJA_BINARY, ops[i].op, node, parse_power(p));
            i = (size_t)-1; /* once more from the first */
        }
    return node;
}

/* Operands with one operator between them, as one node. */
static jinja_node *parse_chain(jinja_parser *p, jinja_kind kind, const char *op, jinja_node *first,
                               jinja_node *(*operand)(jinja_parser *))
{
    if (first == NULL || !jinja_is_operator(p->at, op))
        return first;
    jinja_node *node = jinja_node_new(p, kind);
    if (node == NULL || !jinja_append(p, node, first))
        return NULL;
    while (jinja_skip(p, op))
        if (!jinja_append(p, node, operand(p)))
            return NULL;
    return node;
}

static jinja_node *parse_concat(jinja_parser *p)
{
    return parse_chain(p, JINJA_CONCAT, "~", parse_product(p), parse_product);
}

static jinja_node *parse_sum(jinja_parser *p)
{
    jinja_node *node = parse_concat(p);
    while (node != NULL && (jinja_is_operator(p->at, "+") || jinja_is_operator(p->at, "-"))) {
        if (jinja_skip(p, "-"))
            node = binary_of(p, JINJA_BINARY, JINJA_SUB, node, parse_concat(p));
        else
            node = parse_chain(p, JINJA_ADD, "+", node, parse_concat);
    }
    return node;
}

/* The comparison here, which is passed; -1: none. */
static int comparison(jinja_parser *p)
{
    static const char *const ops[] = {"==", "!=", ">", ">=", "<", "<="};
    for (int i = 0; i < 6; i++)
        if (jinja_skip(p, ops[i]))
            return JINJA_EQ + i;
    if (jinja_skip_name(p, "in"))
        return JINJA_IN;
    if (jinja_is_name(p->at, "not") && jinja_is_name(p->at + 1, "in")) {
        p->at += 2;
        return JINJA_NOT_IN;
    }
    return -1;
}

static jinja_node *parse_comparison(jinja_parser *p)
{
    jinja_node *first = parse_sum(p), *node;
    uint8_t ops[16];
    size_t n = 0;
    int op = first != NULL ? comparison(p) : -1;
    if (op < 0)
        return first;
    if ((node = jinja_node_new(p, JINJA_COMPARE)) == NULL || !jinja_append(p, node, first))
        return NULL;
    for (; op >= 0; op = comparison(p)) {
        if (n == sizeof ops) {
            jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "more than 16 comparisons in a row");
            return NULL;
        }
        ops[n++] = (uint8_t)op;
        if (!jinja_append(p, node, parse_sum(p)))
            return NULL;
    }
    if ((node->ops = jinja_parse_alloc(p, n)) == NULL)
        return NULL;
    memcpy(node->ops, ops, n);
    return node;
}

static jinja_node *parse_not(jinja_parser *p)
{
    if (!jinja_skip_name(p, "not"))
        return parse_comparison(p);
    if (!jinja_enter(p))
        return NULL;
    jinja_node *node = unary_of(p, JINJA_NOT, parse_not(p));
    p->depth--;
    return node;
}

static jinja_node *parse_and(jinja_parser *p)
{
    jinja_node *node = parse_not(p);
    while (node != NULL && jinja_skip_name(p, "and"))
        node = binary_of(p, JINJA_AND, JINJA_EQ, node, parse_not(p));
    return node;
}

static jinja_node *parse_or(jinja_parser *p)
{
    jinja_node *node = parse_and(p);
    while (node != NULL && jinja_skip_name(p, "or"))
        node = binary_of(p, JINJA_OR, JINJA_EQ, node, parse_and(p));
    return node;
}

static jinja_node *parse_condition(jinja_parser *p)
{
    jinja_node *node = parse_or(p);
    while (node != NULL && jinja_skip_name(p, "if")) {
        node = binary_of(p, JINJA_COND, JINJA_EQ, node, parse_or(p));
        if (node != NULL && jinja_skip_name(p, "else") && (node->c = jinja_parse_expression(p)) == NULL)
            return NULL;
    }
    return node;
}

jinja_node *jinja_parse_expression(jinja_parser *p)
{
    if (!jinja_enter(p))
        return NULL;
    jinja_node *node = parse_condition(p);
    p->depth--;
    return node;
}

jinja_node *jinja_parse_tuple(jinja_parser *p, bool conditions)
{
    jinja_node *first = conditions ? jinja_parse_expression(p) : parse_or(p);
    if (first == NULL || !jinja_is_operator(p->at, ","))
        return first;
    jinja_node *node = jinja_node_new(p, JINJA_TUPLES);
    if (node == NULL || !jinja_append(p, node, first))
        return NULL;
    while (jinja_skip(p, ",")) {
        if (p->at->kind == JINJA_T_PRINT_END || p->at->kind == JINJA_T_BLOCK_END || jinja_is_operator(p->at, ")"))
            break;
        if (!jinja_append(p, node, conditions ? jinja_parse_expression(p) : parse_or(p)))
            return NULL;
    }
    return node;
}

jinja_node *jinja_parse_target(jinja_parser *p, bool members)
{
    jinja_node *names = NULL, *node = NULL;
    const bool parenthesis = jinja_skip(p, "(");
    for (;;) {
        if (p->at->kind != JINJA_T_NAME) {
            jinja_unexpected(p, "a name to assign to");
            return NULL;
        }
        if ((node = parse_name(p)) == NULL)
            return NULL;
        if (node->kind != JINJA_NAME) {
            jinja_parse_fail(p, DM_ERR_INPUT, "cannot assign to a constant");
            return NULL;
        }
        if (members && names == NULL && jinja_is_operator(p->at, "."))
            node = parse_member(p, node);
        if (names != NULL && !jinja_append(p, names, node))
            return NULL;
        if (!jinja_is_operator(p->at, ","))
            break;
        if (names == NULL && ((names = jinja_node_new(p, JINJA_TUPLES)) == NULL || !jinja_append(p, names, node)))
            return NULL;
        jinja_next(p);
        if (jinja_is_name(p->at, "in") || jinja_is_operator(p->at, "=") || jinja_is_operator(p->at, ")"))
            break;
    }
    if (parenthesis && !jinja_expect(p, ")"))
        return NULL;
    return names != NULL ? names : node;
}
