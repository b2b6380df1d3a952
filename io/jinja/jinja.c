#include "io/jinja/jinja.h"

#include <stdlib.h>
#include <string.h>

#include "io/jinja/eval.h"

int jinja_variable(dm_jinja *j, const char *name, size_t size)
{
    for (size_t i = 0; i < j->n_variables; i++)
        if (strlen(j->variables[i]) == size && memcmp(j->variables[i], name, size) == 0)
            return (int)i;
    if (j->n_variables > UINT16_MAX)
        return -1;
    if (j->n_variables == j->variables_capacity) {
        const size_t room = j->variables_capacity > 0 ? 2 * j->variables_capacity : 64;
        const char **more = jinja_alloc(&j->arena, room * sizeof *more);
        if (more == NULL)
            return -1;
        if (j->n_variables > 0)
            memcpy(more, j->variables, j->n_variables * sizeof *more);
        j->variables = more;
        j->variables_capacity = room;
    }
    char *copy = jinja_alloc(&j->arena, size + 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, name, size);
    copy[size] = '\0';
    j->variables[j->n_variables] = copy;
    return (int)j->n_variables++;
}

dm_status dm_jinja_compile(dm_jinja **out, const char *source, size_t size, const char *where, dm_error *err)
{
    const size_t length = strlen(where);
    dm_jinja *j = calloc(1, sizeof *j + length + 1);
    *out = NULL;
    if (j == NULL)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the template", where);
    if (size > DM_JINJA_SOURCE) {
        free(j);
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: the chat template has %zu bytes, at most %zu are supported", where,
                       size, DM_JINJA_SOURCE);
    }
    j->arena.limit = JINJA_MEMORY;
    j->where = memcpy((char *)(j + 1), where, length + 1);
    const int loop = jinja_variable(j, "loop", 4), caller = jinja_variable(j, "caller", 6);
    const int date = jinja_variable(j, "date", 4);
    j->known.loop = (uint16_t)loop;
    j->known.caller = (uint16_t)caller;
    j->known.date = (uint16_t)date;
    dm_status status = loop < 0 || caller < 0 || date < 0 ? dm_fail(err, DM_ERR_MEMORY, "no memory for the template")
                                                          : jinja_parse(j, source, size, err);
    if (status == DM_OK) {
        *out = j;
        return DM_OK;
    }
    dm_jinja_close(&j);
    return dm_fail_context(err, status, "%s", where);
}

void dm_jinja_close(dm_jinja **j)
{
    if (*j == NULL)
        return;
    jinja_free(&(*j)->arena);
    free(*j);
    *j = NULL;
}

bool dm_jinja_marks(const dm_jinja *j)
{
    return j->generation;
}

static char empty[1];

dm_status dm_jinja_render(const dm_jinja *j, jinja_arena *arena, const dm_jinja_input *input, jinja_text *text,
                          dm_error *err)
{
    jinja_eval e = {.j = j, .arena = arena, .out = text, .line = 1, .err = err};
    *text = jinja_text_new(&e);
    if ((e.frame = jinja_frame_new(&e, NULL)) == NULL)
        return e.status;
    for (size_t i = 0; i < input->n; i++)
        for (size_t k = 0; k < j->n_variables; k++) /* what the template does not name needs no place */
            if (strcmp(j->variables[k], input->variables[i].name) == 0 &&
                !jinja_assign(&e, e.frame, (uint16_t)k, input->variables[i].value))
                return e.status;
    jinja_execute(&e, j->root);
    if (text->data == NULL) /* nothing was written; readers add 0 to it */
        text->data = empty;
    return e.status;
}

static dm_status no_memory(dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory to render a conversation");
}

dm_status dm_jinja_from_json(jinja_arena *a, const dm_json *v, uint32_t origin, jinja_value *out, dm_error *err)
{
    const jinja_string *s;
    jinja_list *list;
    jinja_dict *d;
    dm_status status = DM_OK;
    size_t i = 0;
    switch (v->type) {
    case DM_JSON_NULL:
        *out = jinja_none();
        return DM_OK;
    case DM_JSON_BOOL:
        *out = jinja_bool(v->boolean);
        return DM_OK;
    case DM_JSON_NUMBER:
        *out = v->is_integer ? jinja_int(v->integer) : jinja_float(v->number);
        if (!v->is_integer && (v->number >= 9.2e18 || v->number <= -9.2e18))
            return dm_fail(err, DM_ERR_UNSUPPORTED, "line %u: a number of 19 digits or more", (unsigned)v->line);
        return DM_OK;
    case DM_JSON_STRING:
        if ((s = jinja_string_of(a, v->text, v->length, origin)) == NULL)
            return no_memory(err);
        *out = (jinja_value){.type = JINJA_STRING, .as.string = s};
        return DM_OK;
    case DM_JSON_ARRAY: {
        jinja_value *items = jinja_alloc(a, (v->length + 1) * sizeof *items);
        if ((list = jinja_alloc(a, sizeof *list)) == NULL || items == NULL)
            return no_memory(err);
        for (const dm_json *c = v->child; c != NULL && status == DM_OK; c = c->next)
            status = dm_jinja_from_json(a, c, origin, &items[i++], err);
        *list = (jinja_list){items, v->length};
        *out = (jinja_value){.type = JINJA_LIST, .as.list = list};
        return status;
    }
    default:
        if ((d = jinja_dict_new(a, v->length)) == NULL)
            return no_memory(err);
        for (const dm_json *c = v->child; c != NULL && status == DM_OK; c = c->next, d->n++) {
            if ((s = jinja_string_of(a, c->key, c->key_length, origin)) == NULL)
                return no_memory(err);
            d->entries[d->n].key = (jinja_value){.type = JINJA_STRING, .as.string = s};
            status =
                dm_jinja_from_json(a, c, origin, &d->entries[d->n].value, err); /* keys differ: the reader saw to it */
        }
        *out = (jinja_value){.type = JINJA_DICT, .as.dict = d};
        return status;
    }
}
