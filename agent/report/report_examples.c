/* Examples: pairs of trajectories with what policy and reference say of each turn. */
#include <math.h> /* NAN and isnan only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_data.h"
#include "core/files/file.h"
#include "model/loss/loss.h"

#define EPISODE_FILES 64

typedef struct reader {
    dm_report *r;
    dm_report_example *e;
    dm_loss_options loss; /* of the training: what the weights are */
    dm_json_doc *scores, *pairs;
    dm_episodes episodes; /* that the pairs were made of; none: unknown */
} reader;

/* ---- what the training was ---- */

static void read_loss(reader *k)
{
    static const char *const objectives[] = {"sft", "dmpo", "dmpo-token", "dpo", "kto", NULL};
    const dm_report_training *t = NULL;
    dm_report *r = k->r;
    char number[DM_DOUBLE_TEXT];
    dm_json_doc *doc = NULL;

    k->loss = (dm_loss_options){.objective = DM_OBJECTIVE_DMPO, .phi = DM_PHI_CODE, .beta = 0.1, .gamma = 0.7};
    for (size_t i = 0; i < r->trainings && !t; i++)
        if (r->training[i].of.seed == k->e->of.seed && dm_report_same_subject(&r->training[i].of, &k->e->of))
            t = &r->training[i];
    const char *slash = t ? strrchr(t->metrics, '/') : NULL;
    if (!slash)
        return;
    const char *path = dm_report_path(r, dm_report_format(r, "%.*s/run.json", (int)(slash - t->metrics), t->metrics));
    if (r->status != DM_OK || !dm_file_exists(path) || (r->status = dm_json_read(&doc, path, r->err)) != DM_OK)
        return;

    const dm_json *o = dm_json_get(dm_json_root(doc), "options"), *length = dm_json_get(o, "length-normalised");
    for (int i = 0; objectives[i]; i++)
        if (dm_json_is(dm_json_get(o, "objective"), objectives[i]))
            k->loss.objective = (dm_objective_kind)i;
    if (dm_json_is(dm_json_get(o, "phi"), "printed"))
        k->loss.phi = DM_PHI_PRINTED;
    k->loss.length_normalised = length && length->type == DM_JSON_BOOL && length->boolean;
    r->status = dm_json_get_double(doc, o, "gamma", 0, 1, &k->loss.gamma, &k->loss.gamma, r->err);
    if (r->status == DM_OK)
        r->status = dm_json_get_double(doc, o, "beta", 0, 1e9, &k->loss.beta, &k->loss.beta, r->err);
    const bool weighs = k->loss.objective == DM_OBJECTIVE_DMPO || k->loss.objective == DM_OBJECTIVE_DMPO_TOKEN;
    dm_double_text(number, k->loss.gamma);
    k->e->objective =
        dm_report_format(r, "%s%s%s%s", objectives[k->loss.objective], weighs ? ", \xCE\xB3 " : "",
                         weighs ? number : "", weighs && k->loss.phi == DM_PHI_PRINTED ? ", \xCF\x86 as printed" : "");
    dm_json_close(&doc);
}

/* ---- episodes that the pairs were made of ---- */

/* The command of the stage that made the pairs names them: ".../stages/NAME-KEY/episodes.jsonl". */
static void read_episodes(reader *k)
{
    static const char file[] = "/episodes.jsonl";
    dm_report *r = k->r;
    const char *list[EPISODE_FILES], *command = NULL, *slash = strrchr(k->e->file, '/');
    size_t n = 0;

    for (size_t i = 0; slash && i < r->stages; i++) {
        const char *output = r->stage[i].output;
        if (strlen(output) == (size_t)(slash - k->e->file) && strncmp(output, k->e->file, strlen(output)) == 0)
            command = r->stage[i].command;
    }
    for (const char *p = command; p && (p = strstr(p, "stages/")) != NULL && n < EPISODE_FILES; p++) {
        const size_t size = strcspn(p, " '");
        if (size < sizeof file || strncmp(p + size + 1 - sizeof file, file, sizeof file - 1) != 0)
            continue;
        const char *episodes = dm_report_format(r, "%.*s", (int)size, p);
        if (!dm_report_is_stages(episodes))
            continue;
        list[n] = dm_report_path(r, episodes);
        n += dm_file_exists(list[n]);
    }
    if (n && r->status == DM_OK)
        r->status = dm_episodes_read(&k->episodes, list, n, r->err);
}

/* Scores follow from the actions so far: the episode of the same task that begins with most of them knows. `given`
 * turns of the prompt come before the side's. */
static void find_scores(const reader *k, const char *id, const char *const *given, size_t n_given, dm_report_side *side)
{
    const size_t size = strcspn(id, ":");
    const dm_episode *best = NULL;
    size_t most = n_given;

    for (size_t i = 0; i < k->episodes.n; i++) {
        const dm_episode *e = &k->episodes.episode[i];
        size_t n = 0;
        if (strncmp(e->id, id, size) != 0 || e->id[size] != '/')
            continue;
        while (n < e->turns && n < n_given + side->turns &&
               strcmp(e->turn[n].action, n < n_given ? given[n] : side->turn[n - n_given].action) == 0)
            n++;
        if (n > most) {
            most = n;
            best = e;
        }
    }
    for (size_t t = n_given; best && t < most; t++)
        side->turn[t - n_given].score = best->turn[t].score;
}

/* ---- pairs ---- */

/* An agent's message, in either spelling; NULL: another speaker's. */
static const char *agent_words(const dm_json *m)
{
    const dm_json *from = dm_json_get(m, "from"), *role = dm_json_get(m, "role");
    const dm_json *text = dm_json_get(m, from ? "value" : "content");
    const bool agent = dm_json_is(from, "gpt") || dm_json_is(role, "assistant");
    return agent && text && text->type == DM_JSON_STRING ? text->text : NULL;
}

static const char *any_words(const dm_json *m)
{
    const dm_json *text = dm_json_get(m, dm_json_get(m, "from") ? "value" : "content");
    return text && text->type == DM_JSON_STRING ? text->text : NULL;
}

static double member(const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER ? x->number : NAN;
}

/* Mean weight of the tokens from `begin` on; they differ within a turn only where every token is a turn. */
static double weight_of(const dm_loss_options *o, size_t turn, size_t turns, size_t begin, size_t tokens, size_t all)
{
    double sum = 0;

    if (o->objective == DM_OBJECTIVE_DMPO)
        sum = dm_loss_phi_of(o->phi, o->gamma, turn, turns);
    else if (o->objective == DM_OBJECTIVE_DMPO_TOKEN)
        for (size_t i = begin; i < begin + tokens; i++)
            sum += dm_loss_phi_of(o->phi, o->gamma, i, all) / (double)tokens;
    else
        sum = 1;
    return o->length_normalised ? sum / (double)all : sum;
}

static bool read_side(reader *k, const dm_json *list, const dm_json *line, dm_report_side *out)
{
    const dm_json *turns = dm_json_get(line, "turns"), *t = turns ? turns->child : NULL;
    const double all = member(line, "action_tokens");
    size_t n = 0, i = 0, begin = 0;

    for (const dm_json *m = list->child; m; m = m->next)
        n += agent_words(m) != NULL;
    if (!turns || turns->type != DM_JSON_ARRAY || turns->length > n || !(all >= 1 && all < 1e9) ||
        !(out->turn = dm_report_alloc(k->r, n, sizeof *out->turn)))
        return false;
    out->turns = n;
    out->reward = member(line, "reward");
    for (const dm_json *m = list->child; m; m = m->next) {
        const char *words = agent_words(m);
        if (!words)
            continue;
        dm_report_turn *x = &out->turn[i];
        *x = (dm_report_turn){.action = dm_report_format(k->r, "%s", words), .weight = NAN, .ratio = NAN, .score = NAN};
        const double tokens = member(t, "tokens");
        if (t && tokens >= 1 && tokens <= all && begin + (size_t)tokens <= (size_t)all) {
            x->weight = weight_of(&k->loss, i, turns->length, begin, (size_t)tokens, (size_t)all);
            x->ratio = member(t, "logp") - member(t, "reference_logp");
            begin += (size_t)tokens;
        }
        t = t ? t->next : NULL;
        i++;
    }
    return true;
}

static bool read_pair(reader *k, const dm_json *pair, const dm_json *chosen, const dm_json *rejected,
                      dm_report_pair *out)
{
    const dm_json *prompt = dm_json_get(pair, "prompt"), *a = dm_json_get(pair, "chosen"),
                  *b = dm_json_get(pair, "rejected");
    const char *given[1024], *task = "";
    size_t n_given = 0, i = 0;

    if (!a || !b || a->type != DM_JSON_ARRAY || b->type != DM_JSON_ARRAY || !read_side(k, a, chosen, &out->chosen) ||
        !read_side(k, b, rejected, &out->rejected))
        return false;
    for (const dm_json *m = prompt && prompt->type == DM_JSON_ARRAY ? prompt->child : NULL; m; m = m->next, i++) {
        const char *words = agent_words(m);
        if (words && i > 1 && n_given < sizeof given / sizeof *given)
            given[n_given++] = words;
        else if (!words && any_words(m) && n_given == 0)
            task = any_words(m); /* the last one before the turns: the task */
    }
    const dm_json *id = dm_json_get(pair, "id");
    out->task = dm_report_format(k->r, "%s", task);
    out->id = dm_report_format(k->r, "%s", id && id->type == DM_JSON_STRING ? id->text : "");
    find_scores(k, out->id, given, n_given, &out->chosen);
    find_scores(k, out->id, given, n_given, &out->rejected);
    out->chosen.score = member(pair, "chosen_score");
    out->rejected.score = member(pair, "rejected_score");
    return true;
}

/* ---- which of them ---- */

typedef struct place {
    const dm_json *pair, *chosen, *rejected;
    double margin;
    size_t number;
} place;

static int by_margin(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->margin > y->margin || x->margin < y->margin)
        return x->margin > y->margin ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Items and lines are in the same order, but lines of items that training skips are missing. */
static size_t join(const reader *k, place *out)
{
    const dm_json *root = dm_json_root(k->pairs), *line = dm_json_root(k->scores)->child;
    size_t n = 0;

    for (const dm_json *p = root->child; p && line && line->next; p = p->next) {
        const dm_json *id = dm_json_get(p, "id"), *scored = dm_json_get(line, "id");
        if (id && id->type == DM_JSON_STRING && !dm_json_is(scored, id->text))
            continue;
        out[n] = (place){p, line, line->next, member(line, "reward") - member(line->next, "reward"), n};
        line = line->next->next;
        n += !isnan(out[n].margin) && dm_json_is(dm_json_get(out[n].chosen, "side"), "chosen") &&
             dm_json_is(dm_json_get(out[n].rejected, "side"), "rejected");
    }
    qsort(out, n, sizeof *out, by_margin);
    return n;
}

static void choose(reader *k)
{
    static const char *const what[3] = {"the widest margin", "the median margin", "the narrowest margin"};
    place *all = dm_report_alloc(k->r, dm_json_root(k->pairs)->length + 1, sizeof *all);

    k->e->pair = dm_report_alloc(k->r, 3, sizeof *k->e->pair);
    if (k->r->status != DM_OK)
        return;
    const size_t n = join(k, all), at[3] = {0, n / 2, n ? n - 1 : 0};
    for (size_t i = 0; i < 3 && n; i++) {
        dm_report_pair *x = &k->e->pair[k->e->pairs];
        if (i > 0 && at[i] == at[i - 1])
            continue;
        *x = (dm_report_pair){.what = n > 1 ? what[i] : "the only one"};
        k->e->pairs += read_pair(k, all[at[i]].pair, all[at[i]].chosen, all[at[i]].rejected, x);
    }
}

void dm_report_read_example(dm_report *r, dm_report_example *e)
{
    reader k = {.r = r, .e = e};

    if (r->status != DM_OK)
        return;
    const char *scores = dm_report_path(r, e->scores), *pairs = dm_report_path(r, e->file);
    if (!dm_file_exists(scores) || !dm_file_exists(pairs))
        return;
    read_loss(&k);
    if (r->status == DM_OK)
        read_episodes(&k);
    if (r->status == DM_OK && (r->status = dm_json_read_any(&k.scores, scores, r->err)) == DM_OK &&
        (r->status = dm_json_read_any(&k.pairs, pairs, r->err)) == DM_OK)
        choose(&k);
    dm_json_close(&k.scores);
    dm_json_close(&k.pairs);
    dm_episodes_close(&k.episodes);
}
