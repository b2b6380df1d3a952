/* Which bytes of a rendered conversation are the agent's turns. */
#include <string.h>

#include "io/data/template_internal.h"

/* What the template puts between the messages before a turn and the turn. */
typedef struct invitation {
    const char *text; /* from the last data to the generation prompt's end; NULL: not known */
    size_t size;
    size_t prompt;  /* bytes at its end that add_generation_prompt alone brings */
    bool rewritten; /* in the whole conversation it is not what it is for the question */
} invitation;

static dm_status no_memory(const dm_scene *s)
{
    return dm_fail(s->err, DM_ERR_MEMORY, "no memory to render a conversation");
}

/* The message that a run is from, from 1; 0: none. */
static size_t message_of(const jinja_run *run)
{
    const uint32_t origin = run->origin & JINJA_ORIGIN;
    return origin == DM_ORIGIN_TOOLS ? 0 : origin & DM_ORIGIN_INDEX;
}

static bool is_data(const jinja_run *run)
{
    return (run->origin & JINJA_ORIGIN) != 0;
}

/* What stands after the last byte of data in the first `message` messages with a generation prompt. */
static dm_status invite(const dm_scene *s, size_t message, invitation *out)
{
    jinja_text text;
    size_t end = 0;
    const dm_status status = dm_scene_render(s, message, true, &text);
    if (status != DM_OK)
        return status;
    for (size_t i = 0; i < text.n_runs; i++)
        if (is_data(&text.runs[i]))
            end = text.runs[i].end;
    *out = (invitation){.text = text.size > 0 ? text.data + end : "", .size = text.size - end};
    return DM_OK;
}

/* Fills out->prompt. */
static dm_status find_prompt(const dm_scene *s, size_t message, invitation *out)
{
    jinja_text text;
    const dm_status status = dm_scene_render(s, message, false, &text);
    size_t begin = text.size;
    if (status != DM_OK)
        return status;
    for (size_t i = text.n_runs; i > 0 && !is_data(&text.runs[i - 1]); i--)
        begin = i > 1 ? text.runs[i - 2].end : 0;
    const size_t same = text.size - begin;
    out->prompt =
        same <= out->size && (same == 0 || memcmp(text.data + begin, out->text, same) == 0) ? out->size - same : 0;
    return DM_OK;
}

static bool begins_with(const jinja_text *text, size_t at, size_t end, const invitation *v)
{
    return v->size <= end - at && memcmp(text->data + at, v->text, v->size) == 0;
}

/* Where a turn begins whose beginning is not what it would be asked for with: after the generation prompt, if it
 * stands there; else after the last marker or line end that the two have in common. */
static size_t common_begin(const jinja_text *text, size_t at, size_t end, const invitation *v)
{
    size_t same = 0;
    const char *prompt = v->text + v->size - v->prompt;
    while (same < v->size && at + same < end && v->text[same] == text->data[at + same])
        same++;
    if (at + same == end)
        return end;
    for (size_t i = end - at; v->prompt > 0 && i >= v->prompt; i--)
        if (memcmp(text->data + at + i - v->prompt, prompt, v->prompt) == 0)
            return at + i;
    while (same > 0 && strchr("\n>]", v->text[same - 1]) == NULL)
        same--;
    return at + same;
}

size_t dm_turn_end(const dm_chat_template *c, const dm_tokenizer *t, const jinja_text *text, size_t from, size_t to)
{
    const char *token = dm_tokenizer_token(t, c->end_of_turn, NULL);
    const size_t size = token != NULL ? strlen(token) : 0;
    for (size_t at = from; size > 0 && at + size <= to; at++)
        if (text->data[at] == *token && memcmp(text->data + at, token, size) == 0)
            return at + size;
    return 0;
}

/* A message's place in the text. */
typedef struct place {
    size_t gap;        /* where the data before it ends */
    size_t first, end; /* its own bytes */
    size_t next;       /* where the data after it begins, or the text's end */
    bool there, apart; /* apart: other messages' data is between */
} place;

static void find_places(const jinja_text *text, place *places, size_t n)
{
    size_t begin = 0, data = 0, last = 0;
    for (size_t i = 0; i < text->n_runs; begin = text->runs[i++].end) {
        const size_t m = message_of(&text->runs[i]), end = text->runs[i].end;
        if (!is_data(&text->runs[i]))
            continue;
        if (last > 0 && last != m)
            places[last - 1].next = begin;
        if (m > 0 && m <= n) {
            place *p = &places[m - 1];
            if (!p->there)
                *p = (place){.gap = data, .first = begin, .there = true};
            else if (last != m)
                p->apart = true;
            p->end = end;
            p->next = text->size;
        }
        data = end;
        last = m;
    }
}

static dm_status find_turn(const dm_scene *s, const dm_tokenizer *t, const jinja_text *text, const place *p, size_t i,
                           invitation *known, dm_turn *turn)
{
    dm_status status = DM_OK;
    if (!p->there)
        return dm_fail(s->err, DM_ERR_INPUT,
                       "message %zu: the template leaves out the agent's words, which are to be trained", i);
    if (p->apart)
        return dm_fail(s->err, DM_ERR_UNSUPPORTED,
                       "message %zu: the template puts the agent's words in two places, with others' between", i);
    bool as_asked = known->text != NULL && begins_with(text, p->gap, p->end, known);
    if (!as_asked && !known->rewritten) {
        if ((status = invite(s, i, known)) == DM_OK)
            as_asked = begins_with(text, p->gap, p->end, known);
        if (status == DM_OK && !as_asked) { /* as it will be for the others, so it is not asked again for them */
            known->rewritten = true;
            status = find_prompt(s, i, known);
        }
    }
    if (status != DM_OK)
        return dm_fail_context(s->err, status, "message %zu", i);
    turn->begin = as_asked ? p->gap + known->size : common_begin(text, p->gap, p->first, known);
    turn->end = dm_turn_end(s->c, t, text, p->end, p->next);
    turn->ends_in_token = turn->end > 0;
    if (!turn->ends_in_token)
        turn->end = p->end;
    if (turn->begin >= turn->end)
        return dm_fail(s->err, DM_ERR_INPUT, "message %zu: nothing of the agent's words is left to be trained", i);
    return DM_OK;
}

bool dm_turn_wanted(const dm_message *m)
{
    return m->role == DM_ROLE_ASSISTANT && (m->train || m->ids != NULL);
}

/* {% generation %} marks, those of each message in one piece. */
static dm_status find_marks(const dm_scene *s, const dm_tokenizer *t, const jinja_text *text, dm_turn *turns, size_t *n)
{
    size_t begin = 0;
    bool train = false;
    dm_turn mark = {0};
    bool *marked = jinja_alloc(&s->c->own->arena, s->talk->n + 1);
    if (marked == NULL)
        return no_memory(s);
    memset(marked, 0, s->talk->n + 1);
    for (size_t i = 0; i < text->n_runs; begin = text->runs[i++].end) {
        const size_t m = message_of(&text->runs[i]), end = text->runs[i].end;
        if (!(text->runs[i].origin & JINJA_GENERATED))
            continue;
        if (mark.end != begin || mark.end == 0) { /* the first run of a mark */
            if (mark.end > 0 && train)
                turns[(*n)++] = mark;
            mark.begin = begin;
            train = false;
        }
        mark.end = end;
        if (m > 0 && !train && dm_turn_wanted(&s->talk->messages[m - 1])) {
            train = true;
            mark.message = m - 1;
        }
        marked[m] = true;
        if (*n == s->talk->n)
            return dm_fail(s->err, DM_ERR_UNSUPPORTED, "the template has more {%% generation %%} marks than messages");
    }
    if (mark.end > 0 && train)
        turns[(*n)++] = mark;
    for (size_t i = 0; i < s->talk->n; i++)
        if (dm_turn_wanted(&s->talk->messages[i]) && !marked[i + 1])
            return dm_fail(s->err, DM_ERR_INPUT,
                           "message %zu: the template has none of it between {%% generation %%} marks", i);
    const char *token = dm_tokenizer_token(t, s->c->end_of_turn, NULL);
    const size_t size = token != NULL ? strlen(token) : 0;
    for (size_t i = 0; i < *n; i++)
        turns[i].ends_in_token = size > 0 && turns[i].end - turns[i].begin >= size &&
                                 memcmp(text->data + turns[i].end - size, token, size) == 0;
    return DM_OK;
}

dm_status dm_turns_find(const dm_scene *s, const dm_tokenizer *t, const jinja_text *text, dm_turn *turns, size_t *n)
{
    const size_t messages = s->talk->n;
    invitation known[DM_ROLE_TOOL + 1] = {{0}}; /* by the role of the message before; they rarely differ */
    *n = 0;
    if (dm_jinja_marks(s->program))
        return find_marks(s, t, text, turns, n);
    place *places = jinja_alloc(&s->c->own->arena, messages * sizeof *places);
    if (places == NULL)
        return no_memory(s);
    memset(places, 0, messages * sizeof *places);
    find_places(text, places, messages);
    for (size_t i = 0; i < messages; i++) {
        const dm_message *m = &s->talk->messages[i];
        if (!dm_turn_wanted(m))
            continue;
        turns[*n].message = i;
        if (i == 0)
            return dm_fail(s->err, DM_ERR_INPUT, "message 0: the agent's first words answer nothing");
        const dm_status status =
            find_turn(s, t, text, &places[i], i, &known[s->talk->messages[i - 1].role], &turns[*n]);
        if (status != DM_OK)
            return status;
        if (*n > 0 && turns[*n].begin < turns[*n - 1].end)
            return dm_fail(s->err, DM_ERR_UNSUPPORTED, "message %zu: the template puts the agent's words out of order",
                           i);
        ++*n;
    }
    return DM_OK;
}
