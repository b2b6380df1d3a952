/* Chat templates as their makers wrote them: the part of Jinja2 that published ones use, with the values, the white
 * space and the errors that Python's jinja2 has in transformers' sandbox (docs/templates.md lists what there is).
 *
 * What is not supported is refused when a template is compiled, or when it is reached, by its name and line. A
 * rendering cannot run away: its output, memory, steps and depth have limits. Nothing depends on locale, environment or
 * clock: strftime_now takes the date from the variable `date`, "YYYY-MM-DD" or "YYYY-MM-DD HH:MM:SS", and is refused
 * without one.
 *
 *     dm_jinja *j;
 *     dm_jinja_compile(&j, source, size, "chat_template.jinja", &err);
 *     jinja_arena arena = {.limit = JINJA_MEMORY};
 *     dm_jinja_variable variables[] = {{"messages", dm_jinja_from_json(&arena, value, 0)}};
 *     dm_jinja_render(j, &arena, &(dm_jinja_input){.variables = variables, .n = 1}, &text, &err);
 *     ... text.data[0..text.size), text.runs
 *     jinja_free(&arena);
 *     dm_jinja_close(&j); */
#ifndef DM_IO_JINJA_JINJA_H
#define DM_IO_JINJA_JINJA_H

#include "io/jinja/value.h"
#include "io/json.h"

#define DM_JINJA_SOURCE ((size_t)1 << 20)  /* bytes of a template */
#define DM_JINJA_OUTPUT ((size_t)64 << 20) /* bytes of a rendering, and of any text in it */
#define DM_JINJA_STEPS ((uint64_t)1 << 26) /* of a rendering: nodes of the tree and bytes looked at */

typedef struct dm_jinja dm_jinja; /* compiled; read only, so that threads may share it */

/* `where` (a path or name) begins every message about the template and is copied. On failure *out is NULL. */
dm_status dm_jinja_compile(dm_jinja **out, const char *source, size_t size, const char *where, dm_error *err);
void dm_jinja_close(dm_jinja **j);

/* Whether agents' words are marked by {% generation %}. */
bool dm_jinja_marks(const dm_jinja *j);

typedef struct dm_jinja_variable {
    const char *name;
    jinja_value value;
} dm_jinja_variable;

typedef struct dm_jinja_input {
    const dm_jinja_variable *variables;
    size_t n;
} dm_jinja_input;

/* *text lies in the arena, as do the input's values. Errors: DM_ERR_INPUT for what the template itself refuses
 * (raise_exception) and for what is an error in Python; DM_ERR_UNSUPPORTED for what jinja2 has and this interpreter
 * lacks; DM_ERR_MEMORY for the limits. */
dm_status dm_jinja_render(const dm_jinja *j, jinja_arena *arena, const dm_jinja_input *input, jinja_text *text,
                          dm_error *err);

/* A value of `v`, whose texts are not copied, all its texts of that origin. DM_ERR_INPUT: a whole number beyond 64
 * bits, which a template would print in digits that are not known here. */
dm_status dm_jinja_from_json(jinja_arena *a, const dm_json *v, uint32_t origin, jinja_value *out, dm_error *err);

#endif
