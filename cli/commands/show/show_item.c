/* What dmpo show shows: an item's tokens, their weights, and the parts that the sides share. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands/show/show.h"
#include "model/formats/adapter.h"
#include "model/formats/source.h"
#include "model/network/pack.h"

/* ---- reading ---- */

static dm_status open_tokenizer(show_item *item, size_t *vocabulary, const dm_train_options *o, dm_error *err)
{
    const dm_template_choice choice = {.name = o->chat_template, .options = o->template_options};
    dm_source *source = NULL;
    dm_status s = dm_source_open_on(&source, o->model, o->base, err);

    if (s == DM_OK) {
        *vocabulary = dm_source_config(source)->vocab;
        s = dm_source_tokenizer(source, &item->tokenizer, &item->chat, &choice, err);
    }
    dm_source_close(&source);
    if (s == DM_OK && item->tokenizer)
        item->template = item->chat.kind == DM_TEMPLATE_OWN && o->chat_template ? o->chat_template
                                                                                : dm_template_name(item->chat.kind);
    return s;
}

/* The bytes of every token; without a tokenizer its id. */
static dm_status spell(show_item *item, show_side *side, dm_error *err)
{
    for (size_t i = 0; i < side->n + side->cut_tokens; i++) {
        show_token *t = &side->token[i];
        dm_status s = DM_OK;
        t->text = side->text.size;
        if (!item->tokenizer)
            dm_text_print(&side->text, "%ld ", (long)t->id);
        else if ((size_t)t->id >= dm_tokenizer_size(item->tokenizer)) /* the model's vocabulary may be larger */
            dm_text_print(&side->text, "<%ld>", (long)t->id);
        else
            s = dm_tokenizer_decode(item->tokenizer, &t->id, 1, false, &side->text, err);
        if (s != DM_OK)
            return s;
        if (item->tokenizer)
            dm_tokenizer_token(item->tokenizer, t->id, &t->special);
    }
    side->token[side->n + side->cut_tokens].text = side->text.size;
    return side->text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the item's text") : DM_OK;
}

/* turn_of[side->actions], turn after turn. */
static size_t *turn_numbers(const show_side *side)
{
    size_t *turn_of = calloc(side->actions ? side->actions : 1, sizeof *turn_of), n = 0;

    for (size_t k = 0; turn_of && k < side->n_turns; k++)
        for (size_t i = side->turns[k].begin; i < side->turns[k].end; i++)
            turn_of[n++] = k;
    return turn_of;
}

static dm_status weigh(const show_item *item, show_side *side, dm_error *err)
{
    size_t *turn_of = turn_numbers(side), n = 0;
    const dm_loss_side view = {.n = side->actions, .turn_of = turn_of, .turns = side->n_turns};

    if (!turn_of)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu trained tokens", side->actions);
    for (size_t k = 0; k < side->n_turns; k++)
        for (size_t i = side->turns[k].begin; i < side->turns[k].end; i++) {
            side->token[i].trained = true;
            side->token[i].turn = k;
            side->token[i].weight = dm_loss_token_weight(&item->loss, &view, n++);
        }
    free(turn_of);
    return DM_OK;
}

/* trained: false for the rejected side of a pair that sft reads. */
static dm_status take_side(show_item *item, show_side *side, const char *name, const dm_data_trajectory *t,
                           bool trained, dm_error *err)
{
    const size_t all = t->n + t->cut_tokens;

    *side = (show_side){.name = name,
                        .token = calloc(all + 1, sizeof *side->token),
                        .n = t->n,
                        .cut_tokens = t->cut_tokens,
                        .turns = t->turns,
                        .n_turns = trained ? t->n_turns : 0,
                        .cut_turns = t->cut_turns,
                        .actions = trained ? t->n_actions : 0};
    if (!side->token)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu tokens", all);
    for (size_t i = 0; i < all; i++)
        side->token[i] = (show_token){.id = t->ids[i], .cut = i >= t->n};
    const dm_status s = spell(item, side, err);
    return s == DM_OK ? weigh(item, side, err) : s;
}

static dm_status take(show_item *item, dm_error *err)
{
    const dm_data_item *d = &item->data.items[0];
    const bool pair = d->chosen.n && d->rejected.n, labelled = item->data.pairs && !pair;
    dm_loss_options *loss = &item->loss;

    item->id = d->id;
    item->number = d->number;
    item->form = pair                      ? "pair"
                 : labelled && d->chosen.n ? "completion, desirable"
                 : labelled                ? "completion, undesirable"
                                           : "conversation";
    if (!pair) /* the only objective that takes it */
        loss->objective = labelled ? DM_OBJECTIVE_KTO : DM_OBJECTIVE_SFT;
    if (pair) {
        item->shared = d->chosen.n + d->rejected.n - dm_pack_measure(d, true).rows;
        item->same = item->shared == d->chosen.n && item->shared == d->rejected.n &&
                     d->chosen.n_turns == d->rejected.n_turns &&
                     memcmp(d->chosen.turns, d->rejected.turns, d->chosen.n_turns * sizeof *d->chosen.turns) == 0;
    }
    dm_status s = DM_OK;
    if (d->chosen.n)
        s = take_side(item, &item->side[0],
                      pair       ? "chosen"
                      : labelled ? "completion"
                                 : "conversation",
                      &d->chosen, true, err);
    if (s == DM_OK && d->rejected.n)
        s = take_side(item, &item->side[1], pair ? "rejected" : "completion", &d->rejected,
                      loss->objective != DM_OBJECTIVE_SFT, err);
    return s;
}

dm_status show_open(show_item *item, const dm_train_options *o, const char *only, dm_error *err)
{
    dm_data_options options = {.max_length = (size_t)o->max_length,
                               .take_labels = true,
                               .join_messages = o->join_messages,
                               .keep_cut = true,
                               .one = true,
                               .only = only};
    dm_status s;

    *item = (show_item){.path = o->data,
                        .model = o->model,
                        .reference = o->reference,
                        .base = o->base,
                        .loss = dm_train_loss_options(o),
                        .max_length = o->max_length};
    if ((s = dm_loss_check(&item->loss, err)) != DM_OK)
        return s;
    if (o->model && (s = open_tokenizer(item, &options.vocabulary, o, err)) != DM_OK)
        return s;
    options.tokenizer = item->tokenizer;
    options.chat = item->tokenizer ? &item->chat : NULL;
    s = dm_dataset_open(&item->data, o->data, &options, err);
    return s == DM_OK ? take(item, err) : s;
}

void show_close(show_item *item)
{
    for (int i = 0; i < 2; i++) {
        free(item->side[i].token);
        dm_text_free(&item->side[i].text);
    }
    dm_dataset_close(&item->data);
    dm_template_close(&item->chat);
    dm_tokenizer_close(&item->tokenizer);
}

/* ---- log-probabilities ---- */

static size_t longest(const show_item *item)
{
    return item->side[0].n > item->side[1].n ? item->side[0].n : item->side[1].n;
}

/* logp[side][i] of token i + 1 of that side. */
static dm_status run_model(const show_item *item, dmpo_engine *engine, const char *path, float *const logp[2],
                           dm_error *err)
{
    dmpo_model *model = NULL;
    dmpo_error error = {0};
    const char *base = dm_adapter_is(path) ? item->base : NULL; /* a reference may be whole */
    dmpo_status s = dmpo_model_open_on(&model, engine, path, base, 1, longest(item), &error);

    for (int k = 0; k < 2 && s == DMPO_OK; k++)
        if (item->side[k].name) {
            const dm_data_item *d = &item->data.items[0];
            s = dmpo_model_logprobs(model, (k ? &d->rejected : &d->chosen)->ids, item->side[k].n, logp[k], &error);
        }
    dmpo_model_close(&model);
    return s == DMPO_OK ? DM_OK : dm_fail(err, (dm_status)s, "%s", error.message);
}

/* The sums over the trained tokens, as dmpo score has them. action: room for both log-probabilities of each. */
static void sum(const show_item *item, show_side *side, const size_t *turn_of, float *action, const float *logp,
                const float *reference)
{
    dm_loss_side view = {.n = side->actions,
                         .turn_of = turn_of,
                         .turns = side->n_turns,
                         .logp = action,
                         .reference = action + side->actions};
    size_t n = 0;

    for (size_t i = 1; i < side->n; i++) {
        show_token *t = &side->token[i];
        t->logp = (double)logp[i - 1];
        t->reference = reference ? (double)reference[i - 1] : 0;
        if (!t->trained)
            continue;
        action[n] = logp[i - 1];
        action[side->actions + n++] = reference ? reference[i - 1] : 0;
    }
    side->logp = dm_loss_side_logp(&view);
    if (!reference)
        return;
    side->reference = dm_loss_side_logp(&(dm_loss_side){.n = n, .logp = view.reference});
    side->reward = item->loss.beta * dm_loss_side_score(&item->loss, &view);
}

dm_status show_score(show_item *item, dmpo_engine *engine, dm_error *err)
{
    const size_t room = longest(item);
    float *memory = calloc(6 * room, sizeof *memory);

    if (!memory)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the log-probabilities of %zu tokens", room);
    float *const policy[2] = {memory, memory + room}, *const reference[2] = {memory + 2 * room, memory + 3 * room};
    dm_status s = run_model(item, engine, item->model, policy, err);
    if (s == DM_OK && item->reference)
        s = run_model(item, engine, item->reference, reference, err);
    for (int k = 0; k < 2 && s == DM_OK; k++) {
        if (!item->side[k].name)
            continue;
        size_t *turn_of = turn_numbers(&item->side[k]);
        if (turn_of)
            sum(item, &item->side[k], turn_of, memory + 4 * room, policy[k], item->reference ? reference[k] : NULL);
        else
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for %zu trained tokens", item->side[k].actions);
        free(turn_of);
    }
    item->logps = s == DM_OK;
    free(memory);
    return s;
}

/* ---- parts ---- */

bool show_is_phi(const show_item *item)
{
    return item->loss.objective == DM_OBJECTIVE_DMPO && !item->loss.length_normalised;
}

static bool same_state(const show_side *s, size_t i, size_t k)
{
    const show_token *a = &s->token[i], *b = &s->token[k];
    return a->cut == b->cut && a->trained == b->trained && a->turn == b->turn;
}

bool show_next(const show_item *item, show_part *part)
{
    size_t end;

    for (;;) {
        const show_side *side = &item->side[part->which];
        const size_t all = side->name ? side->n + side->cut_tokens : 0;
        const size_t begin = part->end;
        part->shared = begin < item->shared && part->which == 0;
        end = part->shared ? item->shared : all;
        if (begin < end)
            break;
        if (part->which)
            return false;
        *part = (show_part){.which = 1, .end = item->shared};
    }
    const show_side *a = &item->side[part->which], *b = &item->side[1];
    part->begin = part->end;
    while (part->end < end && same_state(a, part->begin, part->end) &&
           (!part->shared || same_state(b, part->begin, part->end)))
        part->end++;
    part->cut = a->token[part->begin].cut;
    return true;
}

bool show_begins(const show_item *item, const show_part *part)
{
    return part->begin == (part->shared ? 0 : item->shared);
}

void show_section(dm_text *out, const show_item *item, const show_part *part)
{
    if (part->shared)
        dm_text_print(out, "both sides, tokens 0 to %zu", item->shared - 1);
    else
        dm_text_print(out, "%s, from token %zu", item->side[part->which].name, part->begin);
}

static void fixed(dm_text *out, const char *before, double x)
{
    char text[DM_FIXED_TEXT];
    dm_fixed_text(text, x, 4);
    dm_text_print(out, "%s%s", before, text);
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static void weights(dm_text *out, const show_item *item, const show_side *side, const show_part *part)
{
    const double first = side->token[part->begin].weight, last = side->token[part->end - 1].weight;

    fixed(out, show_is_phi(item) ? "phi " : "weight ", first);
    if (first > last || first < last)
        fixed(out, " to ", last);
}

/* "turn 1 of 3, phi 0.6052" */
static void turn(dm_text *out, const show_item *item, const show_side *side, const show_part *part)
{
    const show_token *t = &side->token[part->begin];

    if (!t->trained) {
        dm_text_print(out, "masked");
        return;
    }
    const dm_span *span = &side->turns[t->turn];
    dm_text_print(out, "turn %zu of %zu", t->turn, side->n_turns);
    if (part->begin > span->begin)
        dm_text_print(out, " continued");
    else if (part->end < span->end)
        dm_text_print(out, ", its beginning");
    dm_text_print(out, ", ");
    weights(out, item, side, part);
}

bool show_label(dm_text *out, const show_item *item, const show_part *part)
{
    const show_side *a = &item->side[part->which], *b = &item->side[1];
    const size_t n = part->end - part->begin;
    double logp = 0, reference = 0;

    if (part->cut) {
        dm_text_print(out, "cut by --max-length %lld: %zu token%s, %zu turn%s", (long long)item->max_length,
                      a->cut_tokens, plural(a->cut_tokens), a->cut_turns, plural(a->cut_turns));
        return true;
    }
    const bool in_b = part->shared && b->token[part->begin].trained;
    if (!a->token[part->begin].trained && !in_b)
        return false;
    if (part->shared) {
        dm_text_print(out, "chosen ");
        turn(out, item, a, part);
        dm_text_print(out, "; rejected ");
        turn(out, item, b, part);
        dm_text_print(out, "; %zu token%s", n, plural(n));
    } else {
        turn(out, item, a, part);
        dm_text_print(out, ", %zu token%s", n, plural(n));
    }
    for (size_t i = part->begin; i < part->end; i++) {
        logp += a->token[i].logp;
        reference += a->token[i].reference;
    }
    if (item->logps)
        fixed(out, ", logp ", logp);
    if (item->logps && item->reference)
        fixed(out, ", reference ", reference);
    return true;
}

/* ---- facts ---- */

static void say_objective(dm_text *out, const show_item *item)
{
    const dm_loss_options *o = &item->loss;
    char gamma[DM_DOUBLE_TEXT];

    dm_double_text(gamma, o->gamma);
    dm_text_print(out, "%s", dm_objective_name(o->objective));
    if (o->objective == DM_OBJECTIVE_DMPO || o->objective == DM_OBJECTIVE_DMPO_TOKEN)
        dm_text_print(out, ", gamma %s%s", gamma, o->phi == DM_PHI_PRINTED ? ", phi as printed" : "");
    if (o->length_normalised)
        dm_text_print(out, ", length-normalised");
    if (!item->side[0].name || !item->side[1].name)
        dm_text_print(out, " (the objective for a %s)",
                      o->objective == DM_OBJECTIVE_SFT ? "conversation" : "completion with a label");
}

static void say_side(dm_text *out, const show_item *item, const show_side *s)
{
    dm_text_print(out, "%zu token%s, ", s->n, plural(s->n));
    if (s->actions)
        dm_text_print(out, "%zu trained in %zu turn%s", s->actions, s->n_turns, plural(s->n_turns));
    else
        dm_text_print(out, "none trained: sft imitates the chosen side");
    if (s->cut_tokens)
        dm_text_print(out, "; --max-length %lld cuts off %zu token%s and %zu turn%s", (long long)item->max_length,
                      s->cut_tokens, plural(s->cut_tokens), s->cut_turns, plural(s->cut_turns));
    if (!item->logps || !s->actions)
        return;
    fixed(out, "; logp ", s->logp);
    if (item->reference)
        fixed(out, ", reference ", s->reference);
    if (item->reference && item->loss.objective != DM_OBJECTIVE_SFT)
        fixed(out, ", reward ", s->reward);
}

static void say_shared(dm_text *out, const show_item *item)
{
    const bool compares = item->loss.objective != DM_OBJECTIVE_SFT && item->loss.objective != DM_OBJECTIVE_KTO;

    if (item->same)
        dm_text_print(out, "the sides are the same%s", compares ? ": training leaves this pair out" : "");
    else if (item->shared)
        dm_text_print(out, "the first %zu token%s; the sides part at token %zu", item->shared, plural(item->shared),
                      item->shared);
    else
        dm_text_print(out, "nothing: the sides differ from token 0 on");
}

bool show_facts(const show_item *item, void (*fact)(void *context, const char *key, const char *value), void *context)
{
    dm_text t = {0};

    fact(context, "file", item->path);
    if (strncmp(item->id, "item ", 5) != 0)
        dm_text_print(&t, "item %zu, ", item->number);
    dm_text_print(&t, "%s", item->id);
    fact(context, "item", t.data ? t.data : "");
    fact(context, "form", item->form);
    if (item->model)
        fact(context, "model", item->model);
    if (item->reference)
        fact(context, "reference", item->reference);
    t.size = 0;
    dm_text_print(&t, "%s%s", item->template ? item->template : "none: the file has token ids",
                  item->chat.rewrites ? "; it renders earlier turns otherwise than the last one" : "");
    fact(context, "template", t.data ? t.data : "");
    t.size = 0;
    say_objective(&t, item);
    fact(context, "objective", t.data ? t.data : "");
    for (int k = 0; k < 2; k++)
        if (item->side[k].name) {
            t.size = 0;
            say_side(&t, item, &item->side[k]);
            fact(context, item->side[k].name, t.data ? t.data : "");
        }
    if (item->side[0].name && item->side[1].name) {
        t.size = 0;
        say_shared(&t, item);
        fact(context, "in common", t.data ? t.data : "");
    }
    const bool all = !t.failed;
    dm_text_free(&t);
    return all;
}
