/* Statements. */
#include "io/jinja/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool jinja_parse_fail(jinja_parser *p, dm_status status, const char *fmt, ...)
{
    char message[512];
    va_list args;
    if (p->status != DM_OK)
        return false;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    p->status = dm_fail(p->err, status, "line %u: %s", (unsigned)p->at->line, message);
    return false;
}

bool jinja_unexpected(jinja_parser *p, const char *wanted)
{
    const jinja_token *t = p->at;
    switch (t->kind) {
    case JINJA_T_END:
        return jinja_parse_fail(p, DM_ERR_INPUT, "the template ends where %s should be", wanted);
    case JINJA_T_NAME:
    case JINJA_T_OPERATOR:
        return jinja_parse_fail(p, DM_ERR_INPUT, "\"%.*s\" where %s should be", (int)(t->size < 40 ? t->size : 40),
                                t->text, wanted);
    case JINJA_T_PRINT_END:
    case JINJA_T_BLOCK_END:
        return jinja_parse_fail(p, DM_ERR_INPUT, "%s where %s should be", t->kind == JINJA_T_BLOCK_END ? "%}" : "}}",
                                wanted);
    default:
        return jinja_parse_fail(p, DM_ERR_INPUT, "a constant where %s should be", wanted);
    }
}

void *jinja_parse_alloc(jinja_parser *p, size_t size)
{
    void *memory = jinja_alloc(&p->j->arena, size);
    if (memory == NULL)
        jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for the template");
    return memory;
}

jinja_node *jinja_node_new(jinja_parser *p, jinja_kind kind)
{
    jinja_node *node = p->status == DM_OK ? jinja_parse_alloc(p, sizeof *node) : NULL;
    if (node != NULL) {
        memset(node, 0, sizeof *node);
        node->kind = kind;
        node->line = p->at->line;
    }
    return node;
}

bool jinja_append(jinja_parser *p, jinja_node *node, jinja_node *child)
{
    if (child == NULL)
        return false;
    if ((node->n & (node->n - 1)) == 0) { /* full */
        jinja_node **more = jinja_parse_alloc(p, (node->n > 0 ? 2 * node->n : 1) * sizeof(jinja_node *));
        if (more == NULL)
            return false;
        if (node->n > 0)
            memcpy(more, node->list, node->n * sizeof(jinja_node *));
        node->list = more;
    }
    node->list[node->n++] = child;
    return true;
}

bool jinja_enter(jinja_parser *p)
{
    if (p->status != DM_OK)
        return false;
    if (p->depth == JINJA_DEPTH)
        return jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "nested deeper than %d levels", JINJA_DEPTH);
    p->depth++;
    return true;
}

static bool is_text(const jinja_token *t, jinja_token_kind kind, const char *text)
{
    return t->kind == kind && strlen(text) == t->size && memcmp(t->text, text, t->size) == 0;
}

bool jinja_is_operator(const jinja_token *t, const char *text)
{
    return is_text(t, JINJA_T_OPERATOR, text);
}

bool jinja_is_name(const jinja_token *t, const char *text)
{
    return is_text(t, JINJA_T_NAME, text);
}

bool jinja_skip(jinja_parser *p, const char *op)
{
    const bool here = p->status == DM_OK && jinja_is_operator(p->at, op);
    p->at += here;
    return here;
}

bool jinja_skip_name(jinja_parser *p, const char *name)
{
    const bool here = p->status == DM_OK && jinja_is_name(p->at, name);
    p->at += here;
    return here;
}

bool jinja_expect(jinja_parser *p, const char *op)
{
    char wanted[16];
    snprintf(wanted, sizeof wanted, "\"%s\"", op);
    return jinja_skip(p, op) || (p->status == DM_OK && jinja_unexpected(p, wanted));
}

/* ---- blocks ---- */

static bool parse_body(jinja_parser *p, jinja_node *into, const char *const *ends);

static bool expect_end(jinja_parser *p)
{
    if (p->status == DM_OK && p->at->kind != JINJA_T_BLOCK_END)
        return jinja_unexpected(p, "%}");
    jinja_next(p);
    return p->status == DM_OK;
}

/* The body up to {% end %}, which is passed. */
static jinja_node *closed(jinja_parser *p, jinja_node *node, const char *end)
{
    const char *const ends[] = {end, NULL};
    if (node == NULL || !expect_end(p) || !parse_body(p, node, ends))
        return NULL;
    jinja_next(p);
    return expect_end(p) ? node : NULL;
}

static jinja_node *parse_if(jinja_parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jinja_node *node = jinja_node_new(p, JINJA_IF), *last = node;
    while (node != NULL) {
        if ((last->a = jinja_parse_tuple(p, false)) == NULL || !expect_end(p) || !parse_body(p, last, ends))
            return NULL;
        if (jinja_skip_name(p, "elif")) {
            jinja_node *next = jinja_node_new(p, JINJA_IF);
            last->b = next;
            if ((last = next) == NULL)
                return NULL;
            continue;
        }
        if (jinja_skip_name(p, "else"))
            return (last->b = closed(p, jinja_node_new(p, JINJA_BODY), "endif")) != NULL ? node : NULL;
        jinja_next(p);
        return expect_end(p) ? node : NULL;
    }
    return NULL;
}

static jinja_node *parse_for(jinja_parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    jinja_node *node = jinja_node_new(p, JINJA_FOR);
    if (node == NULL || (node->b = jinja_parse_target(p, false)) == NULL)
        return NULL;
    if (!jinja_skip_name(p, "in"))
        return jinja_unexpected(p, "\"in\""), NULL;
    if ((node->a = jinja_parse_tuple(p, false)) == NULL ||
        (jinja_skip_name(p, "if") && (node->c = jinja_parse_expression(p)) == NULL))
        return NULL;
    if (jinja_is_name(p->at, "recursive"))
        return jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "a recursive for is not supported"), NULL;
    p->loops++;
    const bool read = expect_end(p) && parse_body(p, node, ends);
    p->loops--;
    if (!read)
        return NULL;
    if (jinja_skip_name(p, "else"))
        return (node->other = closed(p, jinja_node_new(p, JINJA_BODY), "endfor")) != NULL ? node : NULL;
    jinja_next(p);
    return expect_end(p) ? node : NULL;
}

static jinja_node *parse_set(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_SET);
    if (node == NULL || (node->b = jinja_parse_target(p, true)) == NULL)
        return NULL;
    if (node->b->kind == JINJA_ATTR && node->b->a->kind != JINJA_NAME)
        return jinja_unexpected(p, "a variable, or a namespace's member, to set"), NULL;
    if (jinja_skip(p, "="))
        return (node->a = jinja_parse_tuple(p, true)) != NULL && expect_end(p) ? node : NULL;
    node->kind = JINJA_SET_BLOCK;
    if (jinja_is_operator(p->at, "|") && (node->a = jinja_parse_filters(p, NULL, false)) == NULL)
        return NULL;
    return closed(p, node, "endset");
}

/* The parameters of a macro or of a call's caller. */
static bool parse_signature(jinja_parser *p, jinja_node *node)
{
    uint16_t symbols[32];
    jinja_node *values[32];
    size_t n = 0;
    if (!jinja_expect(p, "("))
        return false;
    while (!jinja_is_operator(p->at, ")")) {
        if (n > 0 && !jinja_expect(p, ","))
            return false;
        if (p->at->kind != JINJA_T_NAME)
            return jinja_unexpected(p, "a parameter's name");
        if (n == sizeof symbols / sizeof *symbols)
            return jinja_parse_fail(p, DM_ERR_UNSUPPORTED, "more than 32 parameters");
        const int symbol = jinja_variable(p->j, p->at->text, p->at->size);
        if (symbol < 0)
            return jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for its variables");
        jinja_next(p);
        symbols[n] = (uint16_t)symbol;
        values[n] = NULL;
        if (jinja_skip(p, "=")) {
            if ((values[n] = jinja_parse_expression(p)) == NULL)
                return false;
        } else if (n > 0 && values[n - 1] != NULL) {
            return jinja_parse_fail(p, DM_ERR_INPUT, "a parameter without a default follows one with a default");
        }
        n++;
    }
    jinja_next(p);
    uint16_t *kept = jinja_parse_alloc(p, sizeof symbols);
    if (kept == NULL || (node->args = jinja_parse_alloc(p, sizeof *node->args)) == NULL)
        return false;
    memcpy(kept, symbols, sizeof symbols);
    *node->args = (jinja_args){.symbols = kept, .n = n};
    if ((node->args->values = jinja_parse_alloc(p, sizeof values)) == NULL)
        return false;
    memcpy(node->args->values, values, n * sizeof *values);
    return true;
}

/* A body with variables of its own, in which no break reaches a loop outside. */
static jinja_node *closed_apart(jinja_parser *p, jinja_node *node, const char *end)
{
    const unsigned loops = p->loops;
    p->loops = 0;
    p->macros++;
    node = closed(p, node, end);
    p->macros--;
    p->loops = loops;
    return node;
}

static jinja_node *parse_macro(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_MACRO_DEF);
    if (node == NULL)
        return NULL;
    if (p->at->kind != JINJA_T_NAME)
        return jinja_unexpected(p, "the macro's name"), NULL;
    const int variable = jinja_variable(p->j, p->at->text, p->at->size);
    if (variable < 0)
        return jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for its variables"), NULL;
    node->variable = (uint16_t)variable;
    jinja_next(p);
    return parse_signature(p, node) ? closed_apart(p, node, "endmacro") : NULL;
}

static jinja_node *parse_call_block(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_CALL_BLOCK);
    if (node == NULL)
        return NULL;
    if (jinja_is_operator(p->at, "(")) {
        if (!parse_signature(p, node))
            return NULL;
    } else if ((node->args = jinja_parse_alloc(p, sizeof *node->args)) != NULL) {
        *node->args = (jinja_args){.n = 0};
    }
    if ((node->a = jinja_parse_expression(p)) == NULL)
        return NULL;
    if (node->a->kind != JINJA_CALL)
        return jinja_parse_fail(p, DM_ERR_INPUT, "{%% call %%} needs a call"), NULL;
    return closed_apart(p, node, "endcall");
}

static jinja_node *parse_filter_block(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_FILTER_BLOCK);
    if (node == NULL || (node->a = jinja_parse_filters(p, NULL, true)) == NULL)
        return NULL;
    return closed(p, node, "endfilter");
}

static jinja_node *parse_generation(jinja_parser *p)
{
    p->j->generation = true;
    return closed_apart(p, jinja_node_new(p, JINJA_GENERATION), "endgeneration");
}

static jinja_node *parse_jump(jinja_parser *p, jinja_kind kind, const char *name)
{
    if (p->loops == 0)
        return jinja_parse_fail(p, DM_ERR_INPUT, "\"%s\" outside of a for", name), NULL;
    jinja_node *node = jinja_node_new(p, kind);
    return expect_end(p) ? node : NULL;
}

static jinja_node *parse_statement(jinja_parser *p)
{
    if (p->at->kind != JINJA_T_NAME)
        return jinja_unexpected(p, "a statement"), NULL;
    if (jinja_skip_name(p, "if"))
        return parse_if(p);
    if (jinja_skip_name(p, "for"))
        return parse_for(p);
    if (jinja_skip_name(p, "set"))
        return parse_set(p);
    if (jinja_skip_name(p, "macro"))
        return parse_macro(p);
    if (jinja_skip_name(p, "call"))
        return parse_call_block(p);
    if (jinja_skip_name(p, "filter"))
        return parse_filter_block(p);
    if (jinja_skip_name(p, "generation"))
        return parse_generation(p);
    if (jinja_skip_name(p, "break"))
        return parse_jump(p, JINJA_BREAK, "break");
    if (jinja_skip_name(p, "continue"))
        return parse_jump(p, JINJA_CONTINUE, "continue");
    const bool end = p->at->size > 3 && memcmp(p->at->text, "end", 3) == 0;
    jinja_parse_fail(
        p, end || jinja_is_name(p->at, "else") || jinja_is_name(p->at, "elif") ? DM_ERR_INPUT : DM_ERR_UNSUPPORTED,
        end ? "{%% %.*s %%} ends nothing" : "the statement {%% %.*s %%} is not supported",
        (int)(p->at->size < 40 ? p->at->size : 40), p->at->text);
    return NULL;
}

static jinja_node *parse_print(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_PRINT);
    if (node == NULL || (node->a = jinja_parse_tuple(p, true)) == NULL)
        return NULL;
    if (p->at->kind != JINJA_T_PRINT_END)
        return jinja_unexpected(p, "}}"), NULL;
    jinja_next(p);
    return node;
}

static jinja_node *parse_text(jinja_parser *p)
{
    jinja_node *node = jinja_node_new(p, JINJA_TEXT);
    if (node == NULL || (node->text = jinja_string_of(&p->j->arena, p->at->text, p->at->size, 0)) == NULL)
        return NULL;
    jinja_next(p);
    return node;
}

/* Appends statements up to a block whose name is one of `ends` (NULL: the template's end); its {% is passed, its name
 * is at hand. */
static bool parse_body(jinja_parser *p, jinja_node *into, const char *const *ends)
{
    const uint32_t line = into->line;
    if (!jinja_enter(p))
        return false;
    while (p->status == DM_OK && p->at->kind != JINJA_T_END) {
        jinja_node *child = NULL;
        if (p->at->kind == JINJA_T_TEXT) {
            child = parse_text(p);
        } else if (p->at->kind == JINJA_T_PRINT) {
            jinja_next(p);
            child = parse_print(p);
        } else {
            jinja_next(p);
            for (size_t i = 0; ends != NULL && ends[i] != NULL; i++)
                if (jinja_is_name(p->at, ends[i])) {
                    p->depth--;
                    return true;
                }
            child = parse_statement(p);
        }
        if (!jinja_append(p, into, child))
            break;
    }
    p->depth--;
    if (p->status == DM_OK && ends != NULL)
        jinja_parse_fail(p, DM_ERR_INPUT, "the template ends within a block that begins in line %u", (unsigned)line);
    else if (p->status == DM_OK && p->at->kind != JINJA_T_END)
        jinja_parse_fail(p, DM_ERR_MEMORY, "no memory for the template");
    return p->status == DM_OK;
}

dm_status jinja_parse(dm_jinja *j, const char *source, size_t size, dm_error *err)
{
    jinja_tokens tokens;
    jinja_parser p = {.j = j, .err = err};
    p.status = jinja_lex(&tokens, &j->arena, source, size, err);
    if (p.status == DM_OK) {
        p.at = tokens.items;
        if ((j->root = jinja_node_new(&p, JINJA_BODY)) != NULL)
            parse_body(&p, j->root, NULL);
    }
    free(tokens.items);
    return p.status;
}
