/* Environment `shop`: splits that do not overlap, a catalogue that is what it is meant to be, search, reward, pages and
 * actions, short texts of few words, and an expert whose every action follows from the texts alone: an agent that only
 * reads them acts the same. What holds for every environment is in test_env. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/registry.h"
#include "agent/env/shop/shop.h"
#include "tests/support/check.h"
#include "core/numbers/philox.h"

static dm_env *env;
static dm_observation now;

static void reset(dm_env_split split, int64_t task, uint64_t seed)
{
    dm_error err;
    CK(dm_env_reset(env, split, task, seed, &now, &err) == DM_OK);
}

static void step(const char *action)
{
    dm_error err;
    CK(dm_env_step(env, action, &now, &err) == DM_OK);
}

static int says(const char *what)
{
    return strstr(now.text, what) != NULL;
}

/* ---- splits ---- */

static int64_t tasks_of(dm_env_split split)
{
    return env->tasks[split];
}

static int same(const dm_shop_goal *a, const dm_shop_goal *b)
{
    return a->type == b->type && a->attributes == b->attributes && a->value[0] == b->value[0] &&
           a->value[1] == b->value[1];
}

static void check_splits(void)
{
    enum { ALL = DM_SHOP_TASKS_TRAIN + DM_SHOP_TASKS_SEEN + DM_SHOP_TASKS_UNSEEN };
    dm_shop_goal *goal = calloc(ALL, sizeof *goal);
    size_t n = 0, repeated = 0;

    for (dm_env_split split = 0; split < DM_ENV_SPLITS; split++)
        for (int64_t t = 0; t < tasks_of(split); t++, n++) {
            dm_shop_goal_of(split, t, &goal[n]);
            const int held = (goal[n].attributes & dm_shop_held_out(goal[n].type)) != 0;
            CK(held == (split == DM_ENV_SPLIT_UNSEEN));
            CK(dm_shop_bits(goal[n].attributes) == 2);
            for (size_t i = 0; i < n; i++)
                repeated += (size_t)same(&goal[i], &goal[n]);
        }
    CK(n == ALL);
    CK_MSG(repeated == 0, "%zu tasks have the parameters of another one", repeated);
    free(goal);
}

/* ---- catalogues ---- */

static int fits(const dm_shop_goal *g, const dm_shop_product *p)
{
    return p->type == g->type && (g->attributes & ~p->attributes) == 0 && p->price < g->limit &&
           (p->values[0] >> g->value[0] & 1) && (p->values[1] >> g->value[1] & 1);
}

static void check_catalogue(dm_env_split split, int64_t task, uint64_t seed, size_t *first_fits)
{
    dm_shop_goal g;
    dm_shop_product p[DM_SHOP_PRODUCTS];
    int result[DM_SHOP_PRODUCTS];
    const size_t n = dm_shop_catalogue(split, task, seed, &g, p);
    uint32_t ids = 0;
    size_t fit = 0;

    CK(n >= 12 && n <= DM_SHOP_PRODUCTS);
    CK(g.limit >= 20 && g.limit <= 50 && g.limit % 10 == 0);
    for (size_t i = 0; i < n; i++) {
        CK(p[i].id >= 1 && p[i].id <= DM_SHOP_IDS && !(ids >> p[i].id & 1));
        ids |= (uint32_t)1 << p[i].id;
        CK(p[i].price > 10 && p[i].price < 60);
        CK(dm_shop_bits(p[i].attributes) == 4 && dm_shop_bits(p[i].title) == 2 && !(p[i].title & ~p[i].attributes));
        CK(dm_shop_bits(p[i].values[0]) == 3 && dm_shop_bits(p[i].values[1]) == 2);
        CK(split == DM_ENV_SPLIT_UNSEEN || !(p[i].attributes & dm_shop_held_out(p[i].type)));
        fit += (size_t)fits(&g, &p[i]);
    }
    CK(fit >= 1 && fit < n);

    const dm_shop_query q = {(uint32_t)1 << g.type, g.attributes};
    const size_t found = dm_shop_search(p, n, q, result);
    CK(found >= fit);
    *first_fits += (size_t)fits(&g, &p[result[0]]);
}

/* ---- search and reward ---- */

static void check_search(void)
{
    const dm_shop_query q = dm_shop_query_of("warm soft, shirts shirt [lamp] red 12 cottony");
    CK(q.types == (1u << 0 | 1u << 9));
    CK(dm_shop_bits(q.attributes) == 2);
    CK(dm_shop_query_of("").types == 0 && dm_shop_query_of("12 ,,").attributes == 0);

    const uint32_t warm = dm_shop_query_of("warm").attributes, soft = dm_shop_query_of("soft").attributes;
    const dm_shop_product p[] = {
        {.type = 9, .title = 0},           {.type = 1, .title = warm | soft}, {.type = 0, .title = soft},
        {.type = 1, .title = 0},           {.type = 0, .title = warm},        {.type = 0, .title = warm | soft},
        {.type = 2, .title = warm | soft},
    };
    static const int want[] = {5, 2, 4, 0, 1, 6}; /* points 5, 4, 4, 3, 2, 2; among equals the catalogue's order */
    int got[DM_SHOP_PRODUCTS];
    const size_t n = dm_shop_search(p, sizeof p / sizeof *p, q, got);
    CK(n == 6);
    CK(memcmp(got, want, sizeof want) == 0);
    CK(dm_shop_search(p, sizeof p / sizeof *p, (dm_shop_query){0, 0}, got) == 0);
}

static void check_reward(void)
{
    const dm_shop_goal g = {.type = 0, .attributes = 3, .value = {1, 2}, .limit = 30};
    dm_shop_product p = {.type = 0, .price = 28, .attributes = 15, .title = 12};
    const int all[] = {1, 2}, none[] = {-1, -1}, one[] = {1, 0};

    CK(dm_shop_reward(&g, &p, all) == 1);
    CK(dm_shop_reward(&g, &p, one) == 4.0 / 5);
    CK(dm_shop_reward(&g, &p, none) == 3.0 / 5);
    p.price = 30; /* not below */
    CK(dm_shop_reward(&g, &p, all) == 4.0 / 5);
    p.attributes = 13;
    CK(dm_shop_reward(&g, &p, all) == 3.0 / 5);
    p.type = 2; /* of the same category */
    CK(dm_shop_reward(&g, &p, all) == 0.5 * (3.0 / 5));
    p.type = 3; /* of another one */
    CK(dm_shop_reward(&g, &p, all) == 0);
}

/* ---- an agent that only reads ---- */

typedef struct line {
    int id, price;
    char title[48], type[16];
} line;

typedef struct note { /* what it knows of a product besides title and price */
    char options[2][64], features[64];
} note;

typedef struct reader {
    char attribute[2][16], type[16], value[2][16];
    int limit;
    char page; /* 's', 'r', 'i' */
    line results[8], item;
    size_t n;
    int next;
    note notes[DM_SHOP_IDS + 1];
    char chosen[2][16];
    int turn;
    char action[96];
} reader;

/* A line of results; an item page's first line has no id. */
static int read_line(line *l, const char *text)
{
    char a[2][16];
    l->id = 0;
    if (sscanf(text, "%15[a-z] %15[a-z] %15[a-z] %d [B%d]", a[0], a[1], l->type, &l->price, &l->id) < 4)
        return 0;
    snprintf(l->title, sizeof l->title, "%s %s", a[0], a[1]);
    return 1;
}

static void read_rest(char *out, size_t size, const char *text)
{
    const size_t n = strcspn(text, "\n");
    CK(n < size);
    snprintf(out, size, "%.*s", (int)n, text);
}

static void reader_sees(reader *r, const char *action, const char *text)
{
    char word[16];
    int id;
    if (strncmp(text, "search page", 11) == 0) {
        r->page = 's';
    } else if (strncmp(text, "page ", 5) == 0) {
        r->page = 'r';
        for (r->n = 0; (text = strchr(text, '\n')) && read_line(&r->results[r->n], ++text);)
            r->n++;
        r->next = strstr(text, "[next]") != NULL;
    } else if (sscanf(action, "click[B%d]", &id) == 1 && read_line(&r->item, text)) {
        r->page = 'i';
        r->item.id = id;
        for (int k = 0; k < 2; k++) {
            text = strchr(text, '\n') + 1;
            read_rest(r->notes[id].options[k], sizeof r->notes->options[k], text);
            r->chosen[k][0] = 0;
        }
    } else if (strncmp(text, "features: ", 10) == 0) {
        read_rest(r->notes[r->item.id].features, sizeof r->notes->features, text);
    } else if (sscanf(text, "%15s is chosen", word) == 1 && strstr(text, " is chosen")) {
        const int k = strstr(r->notes[r->item.id].options[0], word) == NULL;
        snprintf(r->chosen[k], sizeof r->chosen[k], "%s", word);
    }
}

static void reader_begins(reader *r, const char *text)
{
    char name[2][16];
    memset(r, 0, sizeof *r);
    CK(sscanf(text, "find a %15s %15s %15[a-z], %15s %15[a-z], %15s %15[a-z], price below %d dollars", r->attribute[0],
              r->attribute[1], r->type, name[0], r->value[0], name[1], r->value[1], &r->limit) == 8);
    reader_sees(r, "", strstr(text, "Observation: ") + 13);
}

static int reader_rejects(const reader *r, const line *l)
{
    const note *n = &r->notes[l->id];
    if (strcmp(l->type, r->type) != 0 || l->price >= r->limit)
        return 1;
    for (int k = 0; k < 2; k++) {
        if (n->options[k][0] && !strstr(n->options[k], r->value[k]))
            return 1;
        if (n->features[0] && !strstr(n->features, r->attribute[k]))
            return 1;
    }
    return 0;
}

static void reader_clicks(reader *r, const char *thing)
{
    snprintf(r->action, sizeof r->action, "click[%s]", thing);
}

static void reader_acts(reader *r)
{
    if (r->page == 's') {
        snprintf(r->action, sizeof r->action, "search[%s %s %s]", r->attribute[0], r->attribute[1], r->type);
        return;
    }
    if (r->page == 'r') {
        for (size_t i = 0; i < r->n; i++)
            if (!reader_rejects(r, &r->results[i])) {
                snprintf(r->action, sizeof r->action, "click[B%d]", r->results[i].id);
                return;
            }
        reader_clicks(r, r->next && strcmp(r->results[r->n - 1].type, r->type) == 0 ? "next" : "back to search");
        return;
    }
    const int shown = strstr(r->item.title, r->attribute[0]) && strstr(r->item.title, r->attribute[1]);
    if (r->turn + 1 == env->max_turns)
        reader_clicks(r, "buy now");
    else if (reader_rejects(r, &r->item))
        reader_clicks(r, "< prev");
    else if (!shown && !r->notes[r->item.id].features[0])
        reader_clicks(r, "features");
    else if (strcmp(r->chosen[0], r->value[0]) != 0)
        reader_clicks(r, r->value[0]);
    else if (strcmp(r->chosen[1], r->value[1]) != 0)
        reader_clicks(r, r->value[1]);
    else
        reader_clicks(r, "buy now");
}

/* ---- episodes ---- */

static int words_of(const char *text)
{
    int n = 0;
    for (const char *p = text; *(p += strspn(p, " \n"));) {
        p += strcspn(p, " \n");
        n++;
    }
    return n;
}

enum { WORDS = 256 };

typedef struct vocabulary {
    char word[WORDS][16];
    size_t n;
} vocabulary;

static size_t find_word(const vocabulary *v, const char *word, size_t size)
{
    size_t i = 0;
    while (i < v->n && (strlen(v->word[i]) != size || memcmp(v->word[i], word, size) != 0))
        i++;
    return i;
}

/* Calls for every run of letters and digits. add: remembers it; otherwise it must be known. */
static void learn(vocabulary *v, const char *text, int new_ones)
{
    static const char of[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (const char *p = text; *(p += strcspn(p, of));) {
        const size_t size = strspn(p, of), i = find_word(v, p, size);
        if (i == v->n && new_ones && v->n < WORDS && size < sizeof v->word[0])
            snprintf(v->word[v->n++], sizeof v->word[0], "%.*s", (int)size, p);
        else
            CK_MSG(i < v->n, "a word that training does not have: %.*s", (int)size, p);
        p += size;
    }
}

/* Random admissible actions that buy nothing, then the expert. Returns the reward. */
static double play(dm_env_split split, int64_t task, uint64_t seed, int wander, int *turns, vocabulary *v)
{
    static reader r;
    reset(split, task, seed);
    CK_MSG(words_of(now.text) <= 25, "%d words: %s", words_of(now.text), now.text);
    if (v)
        learn(v, now.text, split == DM_ENV_SPLIT_TRAIN);
    reader_begins(&r, now.text);
    for (*turns = 0; !now.done; ++*turns) {
        const char *const *actions;
        const size_t n = env->class->admissible(env, &actions);
        uint64_t counter = (uint64_t)*turns << 8;
        const char *action = actions[dm_random_below((uint32_t)n, seed, DM_RNG_TEST, (uint64_t)task, &counter)];
        if (*turns >= wander || strcmp(action, "click[buy now]") == 0) {
            action = env->class->expert(env);
            reader_acts(&r);
            CK_MSG(strcmp(action, r.action) == 0, "task %lld: expert %s, reader %s", (long long)task, action, r.action);
        }
        char taken[96];
        snprintf(taken, sizeof taken, "%s", action);
        step(taken);
        CK(!says("invalid"));
        CK_MSG(words_of(now.text) <= 40, "%d words: %s", words_of(now.text), now.text);
        reader_sees(&r, taken, now.text);
        r.turn++;
        if (v)
            learn(v, now.text, split == DM_ENV_SPLIT_TRAIN);
    }
    return now.score;
}

static void check_expert(vocabulary *v)
{
    const uint64_t seeds = getenv("DMPO_TEST_FAST") ? 1 : 3;
    int longest = 0, shortest = 99;
    for (dm_env_split split = 0; split < DM_ENV_SPLITS; split++)
        for (uint64_t seed = 0; seed < seeds; seed++)
            for (int64_t t = 0; t < tasks_of(split); t++) {
                int turns;
                const double reward = play(split, t, seed, 0, &turns, seed == 0 ? v : NULL);
                CK_MSG(reward == 1, "%s task %lld seed %d: reward %g", dm_env_split_names[split], (long long)t,
                       (int)seed, reward);
                longest = turns > longest ? turns : longest;
                shortest = turns < shortest ? turns : shortest;
            }
    CK_MSG(shortest == 5 && longest == 10, "%d to %d turns", shortest, longest);
    CK_MSG(v->n <= 150, "%zu words", v->n);
}

/* From states that others led to it continues as it can: three random actions leave 9 turns. */
static void check_recovery(void)
{
    double sum = 0;
    for (int64_t t = 0; t < 400; t++) {
        int turns;
        sum += play(DM_ENV_SPLIT_TRAIN, t, 0, 3, &turns, NULL);
    }
    CK_MSG(sum / 400 > 0.9, "mean reward %g after three random actions", sum / 400);
}

/* Search as the expert, then buy the first result: the decoys must make that a bad idea. */
static void check_naive(void)
{
    double sum = 0;
    size_t first_fits = 0;
    for (int64_t t = 0; t < 200; t++) {
        const char *const *actions;
        reset(DM_ENV_SPLIT_TRAIN, t, 0);
        step(env->class->expert(env));
        env->class->admissible(env, &actions);
        step(actions[0]);
        step("click[buy now]");
        CK(now.done && now.score < 1);
        sum += now.score;
    }
    CK_MSG(sum / 200 < 0.6, "mean reward %g", sum / 200);

    for (dm_env_split split = 0; split < DM_ENV_SPLITS; split++)
        for (int64_t t = 0; t < 200; t++)
            check_catalogue(split, t, 1, &first_fits);
    CK_MSG(first_fits < 300, "the first result fits in %zu tasks of 600", first_fits);
}

/* ---- pages and actions ---- */

static void check_actions(void)
{
    char first[512], page[512], long_action[300];

    reset(DM_ENV_SPLIT_TRAIN, 0, 0);
    CK(says("find a ") && says("\n\nObservation: search page"));
    step("buy it");
    CK(says("invalid action: say search[words] or click[thing]") && !now.done && now.score == 0);
    step("");
    CK(says("invalid action: say"));
    step("search shirt]");
    CK(says("invalid action: say"));
    memset(long_action, 'a', sizeof long_action);
    memcpy(long_action, "search[", 7);
    memcpy(long_action + sizeof long_action - 2, "]", 2);
    step(long_action);
    CK(says("invalid action: say"));
    step("click[B1]");
    CK(says("invalid action: no such thing"));
    step("search[red 12 spoon]");
    CK(says("no products found. search page"));

    reset(DM_ENV_SPLIT_TRAIN, 0, 0);
    step("  SEARCH[ Shirt ] ");
    CK(says("page 1 of ") && says("\n[next] [back to search]"));
    snprintf(first, sizeof first, "%s", now.text);
    step("search[shirt]");
    CK(says("invalid action: search only on the search page"));
    step("click[prev]");
    CK(says("invalid action: no such thing"));
    step("click[next]");
    CK(says("page 2 of ") && says("[prev] [back to search]"));
    snprintf(page, sizeof page, "%s", now.text);
    line l;
    CK(read_line(&l, strchr(page, '\n') + 1));
    char click[32];
    snprintf(click, sizeof click, "click[b%d]", l.id);
    step(click);
    CK(says("\ncolor [") && says("\nsize [") && says("\n[description] [features] [buy now] [< prev] [back to search]"));
    step("click[description]");
    CK(strcmp(now.text, "description: this shirt is clothing") == 0);
    step("click[< prev]");
    CK(strcmp(now.text, page) == 0);
    step("click[prev]");
    CK(strcmp(now.text, first) == 0);
    step("click[back to search]");
    CK(strcmp(now.text, "search page") == 0);
    step("click[]");
    CK(says("invalid action: no such thing"));
    step("search[lamp]");
    CK(!says("shirt") && !now.done);
    step("click[buy now]");
    CK(says("invalid action: no such thing") && says("no turns left") && now.done && now.score == 0);
    CK(env->class->expert(env) == NULL);
}

int main(void)
{
    static vocabulary v;
    dm_error err;

    CK(dm_env_open(&env, "shop:x", &err) == DM_ERR_ARGUMENT && env == NULL);
    if (!CK(dm_env_open(&env, "shop", &err) == DM_OK))
        return ck_done("shop");
    CK(words_of(env->instruction) <= 45);
    learn(&v, env->instruction, 1);
    check_splits();
    check_search();
    check_reward();
    check_actions();
    check_expert(&v);
    check_recovery();
    check_naive();
    dm_env_close(&env);
    return ck_done("shop");
}
