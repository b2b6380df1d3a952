#include "tests/support/pairs_tool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/json.h"
#include "tests/support/check.h"

char file[FILES][64];
static const char *const file_path[FILES] = {file[0], file[1], file[2], file[3], file[4]};

void name_files(const char *test)
{
    for (int i = 0; i < FILES; i++)
        snprintf(file[i], sizeof file[i], "/tmp/dmpo-test-%s-%ld-%d", test, (long)getpid(), i);
}

void remove_files(void)
{
    for (int i = 0; i < FILES; i++)
        remove(file[i]);
}

static void add_run(dm_text *out, const run *r, const char *policy)
{
    char action[64][16], answer[64][96];
    dm_episode_turn turn[64] = {{0}};
    const size_t n = strlen(r->letters);
    const dm_episode e = {.id = "x",
                          .env = r->env ? r->env : "letters",
                          .split = r->split,
                          .task = r->task,
                          .seed = r->seed,
                          .sample = r->sample,
                          .policy = policy,
                          .replayed = r->replayed,
                          .reward = r->reward,
                          .done = 1,
                          .end = r->end ? r->end : "done",
                          .prompt = {"You are.", "OK", r->task_text ? r->task_text : "Do it."},
                          .turn = turn,
                          .turns = n};
    for (size_t i = 0; i < n; i++) {
        snprintf(action[i], sizeof action[i], r->letters[i] == ' ' ? " \t" : "Action: %c", r->letters[i]);
        snprintf(answer[i], sizeof answer[i], "Observation: %.*s", (int)i + 1, r->letters);
        turn[i] = (dm_episode_turn){.action = action[i], .observation = answer[i], .logp = NAN};
        if (r->logp < 0) {
            turn[i].logp = 4 * r->logp;
            turn[i].tokens = 4;
        }
    }
    dm_episode_write(out, &e);
}

void write_runs(int which, const run *runs, size_t n)
{
    dm_text text = {0};
    for (size_t i = 0; i < n; i++)
        add_run(&text, &runs[i], which == EXPERT ? "expert" : "model");
    CK(!text.failed && dm_file_write(file[which], text.size ? text.data : "", text.size, NULL) == DM_OK);
    dm_text_free(&text);
}

void write_text(int which, const char *text)
{
    CK(dm_file_write(file[which], text, strlen(text), NULL) == DM_OK);
}

dm_pairs_options options_of(const char *sources)
{
    dm_pairs_options o;
    dm_pairs_defaults(&o);
    for (const char *c = sources; *c; c++) {
        const int which = *c == 'e' ? EXPERT : *c == 'x' ? EXPLORED : *c == 'c' ? CONTINUATIONS : FROM;
        dm_pairs_files *const to[] = {&o.expert, &o.explored, &o.continuations, &o.pairs};
        to[which]->path = &file_path[which];
        to[which]->n = 1;
    }
    return o;
}

static void add_letters(dm_text *t, const dm_pairs_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        dm_text_add(t, s->turn[i].action + strlen("Action: "), 1);
}

static void add_pair(dm_text *t, const dm_pair *p)
{
    for (size_t i = DM_EPISODE_PROMPT; i < p->n_prompt; i += 2)
        dm_text_add(t, p->prompt[i].text + strlen("Action: "), 1);
    dm_text_add(t, "|", 1);
    add_letters(t, &p->chosen);
    if (p->rejected.turns) {
        dm_text_add(t, ">", 1);
        add_letters(t, &p->rejected);
    }
}

void expect(const dm_pairs_options *o, const char *want, dm_pairs_drop why, size_t dropped)
{
    dm_pairs p;
    dm_error err = {0};
    dm_text got = {0};

    if (!CK_MSG(dm_pairs_make(&p, o, &err) == DM_OK, "%s: %s", want, err.message))
        return;
    for (size_t i = 0; i < p.n; i++) {
        dm_text_add(&got, " ", i ? 1 : 0);
        add_pair(&got, &p.pair[i]);
    }
    CK_MSG(strcmp(got.data, want) == 0, "made %s, not %s", got.data, want);
    size_t all = 0;
    for (int i = 0; i < DM_PAIRS_DROPS; i++)
        all += p.dropped[i];
    CK_MSG(all + p.n == p.candidates, "%s: %zu of %zu candidates are not counted", want, p.candidates - all - p.n,
           p.candidates);
    if (why == DM_PAIRS_DROPS)
        CK_MSG(all == 0, "%s: %zu are dropped", want, all);
    else
        CK_MSG(p.dropped[why] == dropped, "%s: %zu are dropped as %s, not %zu", want, p.dropped[why],
               dm_pairs_drop_texts[why].key, dropped);
    dm_text_free(&got);
    dm_pairs_close(&p);
}

void expect_error(const dm_pairs_options *o, dm_status status, const char *says)
{
    dm_pairs p;
    dm_error err = {0};
    const dm_status s = dm_pairs_make(&p, o, &err);
    CK_MSG(s == status && strstr(err.message, says), "status %d, '%s' instead of '%s'", (int)s, err.message, says);
    CK(p.n == 0 && !p.pair && !p.memory);
}
