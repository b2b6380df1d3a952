/* dmpo show --json: the item as one object. */
#include "cli/commands/show/show.h"
#include "io/json_writer.h"

static void put_token(dm_json_writer *w, const show_item *item, const show_side *s, size_t i)
{
    const show_token *t = &s->token[i];
    const bool known = item->logps && i > 0 && !t->cut;

    dm_json_new_line(w);
    dm_json_open_object(w, NULL);
    dm_json_put_uint(w, "position", i);
    dm_json_put_int(w, "id", t->id);
    if (item->tokenizer) {
        dm_json_put_bytes(w, "text", s->text.data + t->text, t[1].text - t->text);
        dm_json_put_bool(w, "special", t->special);
    }
    if (t->cut)
        dm_json_put_bool(w, "cut", true);
    if (t->trained)
        dm_json_put_uint(w, "turn", t->turn);
    dm_json_put_double(w, "weight", t->weight);
    if (known)
        dm_json_put_double(w, "logp", t->logp);
    if (known && item->reference)
        dm_json_put_double(w, "reference_logp", t->reference);
    dm_json_close_value(w);
}

static void put_turn(dm_json_writer *w, const show_item *item, const show_side *s, size_t k)
{
    const dm_span *span = &s->turns[k];
    double logp = 0, reference = 0;

    for (size_t i = span->begin; i < span->end; i++) {
        logp += s->token[i].logp;
        reference += s->token[i].reference;
    }
    dm_json_new_line(w);
    dm_json_open_object(w, NULL);
    dm_json_put_uint(w, "begin", span->begin);
    dm_json_put_uint(w, "end", span->end);
    if (show_is_phi(item))
        dm_json_put_double(w, "phi", s->token[span->begin].weight);
    if (item->logps)
        dm_json_put_double(w, "logp", logp);
    if (item->logps && item->reference)
        dm_json_put_double(w, "reference_logp", reference);
    dm_json_close_value(w);
}

static void put_side(dm_json_writer *w, const show_item *item, const show_side *s)
{
    dm_json_new_line(w);
    dm_json_open_object(w, NULL);
    dm_json_put_string(w, "side", s->name);
    dm_json_put_uint(w, "tokens", s->n);
    dm_json_put_uint(w, "action_tokens", s->actions);
    dm_json_put_uint(w, "cut_tokens", s->cut_tokens);
    dm_json_put_uint(w, "cut_turns", s->cut_turns);
    if (item->logps)
        dm_json_put_double(w, "logp", s->logp);
    if (item->logps && item->reference) {
        dm_json_put_double(w, "reference_logp", s->reference);
        if (item->loss.objective != DM_OBJECTIVE_SFT)
            dm_json_put_double(w, "reward", s->reward);
    }
    dm_json_open_array(w, "turns");
    for (size_t k = 0; k < s->n_turns; k++)
        put_turn(w, item, s, k);
    dm_json_close_value(w);
    dm_json_open_array(w, "token");
    for (size_t i = 0; i < s->n + s->cut_tokens; i++)
        put_token(w, item, s, i);
    dm_json_close_value(w);
    dm_json_close_value(w);
}

void show_json(dm_text *out, const show_item *item)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "id", item->id);
    dm_json_put_uint(&w, "number", item->number);
    dm_json_put_string(&w, "form", item->form);
    dm_json_put_string(&w, "template", item->template);
    dm_json_put_string(&w, "objective", dm_objective_name(item->loss.objective));
    dm_json_put_double(&w, "beta", item->loss.beta);
    dm_json_put_double(&w, "gamma", item->loss.gamma);
    dm_json_put_int(&w, "max_length", item->max_length);
    dm_json_put_uint(&w, "shared_tokens", item->shared);
    dm_json_open_array(&w, "sides");
    for (int k = 0; k < 2; k++)
        if (item->side[k].name)
            put_side(&w, item, &item->side[k]);
    dm_json_close_value(&w);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}
