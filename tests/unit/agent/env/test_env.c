/* What holds for every built-in environment: the expert solves every task of every split, splits do not overlap, play
 * at random and nonsense do no harm, an episode leaves nothing behind, texts are the same everywhere. What holds for
 * one of them is in its own test. DMPO_TEST_FAST=1 takes every 20th task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/env.h"
#include "agent/env/registry.h"
#include "tests/support/check.h"
#include "core/numbers/philox.h"
#include "core/sha256.h"
#include "core/utf8.h"

static bool fast;

static const struct {
    const char *name, *sha256;
} texts[] = {
    {"home", "cfe847ba0fe9800a511972f101010efd4132d14186d2c82b9b97d9ef3e2ddf34"},
    {"lab", "619679163b34916f32a631d7cd7e0d57a1c93d4bcca784e9bbc9e6267f1b0017"},
    {"shop", "ee95bc2bff87c509b43a1f74556d2ad8bf117d24ca396bb648060600c3a1ac4e"},
};

/* ---- an episode under way ---- */

typedef struct play {
    dm_env *env;
    dm_observation now;
    int64_t turns;
    dm_sha256 hash; /* of all texts, actions and scores */
} play;

static void add_text(dm_sha256 *hash, const char *text)
{
    dm_sha256_update(hash, text, strlen(text) + 1);
}

static bool is_text(const char *s)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);
    while (p < end) {
        const size_t n = dm_utf8_length(p, end);
        if (n == 0 || (*p < 0x20 && *p != '\n') || *p == 0x7F)
            return false;
        p += n;
    }
    return *s != 0;
}

static void check_observation(play *p)
{
    char score[32];
    CK(is_text(p->now.text));
    CK(p->now.score >= 0 && p->now.score <= 1);
    CK(p->now.done || p->turns < p->env->max_turns);
    add_text(&p->hash, p->now.text);
    snprintf(score, sizeof score, "%.17g %d", p->now.score, p->now.done);
    add_text(&p->hash, score);
}

static play begin(dm_env *env, dm_env_split split, int64_t task, uint64_t seed)
{
    play p = {.env = env};
    dm_error err;
    dm_sha256_init(&p.hash);
    CK(dm_env_reset(env, split, task, seed, &p.now, &err) == DM_OK);
    CK(!p.now.done && p.now.score < 1);
    check_observation(&p);
    return p;
}

static void act(play *p, const char *action)
{
    dm_error err;
    add_text(&p->hash, action);
    p->turns++;
    CK(dm_env_step(p->env, action, &p->now, &err) == DM_OK);
    check_observation(p);
}

static void finish(play *p, char hex[DM_SHA256_HEX])
{
    dm_sha256_finish(&p->hash, hex);
}

/* A copy: the next call may write over the environment's own. */
static bool expert(play *p, char action[256])
{
    const char *a = p->env->class->expert(p->env);
    action[0] = 0;
    if (a)
        snprintf(action, 256, "%s", a);
    return a != NULL;
}

static uint32_t draw(uint64_t stream, int64_t turn, uint32_t below)
{
    return dm_random(77, DM_RNG_TEST, stream, (uint64_t)turn).v[0] % below;
}

/* One of the admissible actions. */
static void choose(play *p, uint64_t stream, char action[256])
{
    const char *const *actions = NULL;
    const size_t n = p->env->class->admissible(p->env, &actions);
    if (CK_MSG(n > 0, "%s: no action is possible after turn %lld", p->env->class->name, (long long)p->turns))
        snprintf(action, 256, "%s", actions[draw(stream, p->turns, (uint32_t)n)]);
}

static dm_env *open_env(const dm_env_class *class)
{
    dm_env *env = NULL;
    dm_error err = {0};
    CK_MSG(dm_env_open(&env, class->name, &err) == DM_OK, "%s", err.message);
    return env;
}

/* ---- the interface ---- */

static void check_interface(dm_env *env)
{
    dm_error err = {0};
    dm_observation o;
    dm_env *none = NULL;
    char specification[64];

    CK(is_text(env->instruction) && is_text(env->class->summary));
    CK(env->max_turns > 0);
    for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++) {
        CK(env->tasks[s] > 0);
        CK(dm_env_reset(env, s, env->tasks[s], 0, &o, &err) == DM_ERR_ARGUMENT);
        CK(dm_env_reset(env, s, -1, 0, &o, &err) == DM_ERR_ARGUMENT);
    }
    CK(dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 0, UINT64_MAX, &o, &err) == DM_OK);
    CK(strstr(o.text, "\n\nObservation: ") != NULL);
    snprintf(specification, sizeof specification, "%s:nonsense", env->class->name);
    CK(dm_env_open(&none, specification, &err) == DM_ERR_ARGUMENT && !none);
}

/* ---- the expert ---- */

typedef struct digest {
    char hex[DM_SHA256_HEX];
    dm_env_split split;
} digest;

static int by_hex(const void *a, const void *b)
{
    const digest *x = a, *y = b;
    const int order = strcmp(x->hex, y->hex);
    return order ? order : (x->split > y->split) - (x->split < y->split);
}

/* How many episodes are the same in two splits. */
static size_t shared(digest *d, size_t n)
{
    size_t count = 0;
    qsort(d, n, sizeof *d, by_hex);
    for (size_t i = 1; i < n; i++)
        count += strcmp(d[i - 1].hex, d[i].hex) == 0 && d[i - 1].split != d[i].split;
    return count;
}

static void play_expert(play *p)
{
    char action[256];
    while (!p->now.done && CK(expert(p, action)))
        act(p, action);
}

static void check_expert(dm_env *env, uint64_t seed)
{
    const size_t all = (size_t)(env->tasks[0] + env->tasks[1] + env->tasks[2]);
    digest *whole = calloc(all, sizeof *whole);
    size_t n = 0;

    for (dm_env_split split = 0; split < DM_ENV_SPLITS && whole; split++)
        for (int64_t task = 0; task < env->tasks[split]; task += fast ? 20 : 1, n++) {
            play p = begin(env, split, task, seed);
            play_expert(&p);
            CK_MSG(p.now.score == 1, "%s %s %lld seed %llu: the expert's score is %g after %lld turns",
                   env->class->name, dm_env_split_names[split], (long long)task, (unsigned long long)seed, p.now.score,
                   (long long)p.turns);
            whole[n].split = split;
            finish(&p, whole[n].hex);
        }
    CK(n >= all / 20);
    const size_t common = shared(whole, n);
    CK_MSG(common == 0, "%s: %zu tasks are in two splits", env->class->name, common);
    free(whole);
}

/* ---- other players ---- */

/* What the environment answers to words that mean nothing, up to its first full stop. */
static void nonsense_answer(dm_env *env, char answer[256])
{
    play p = begin(env, DM_ENV_SPLIT_TRAIN, 0, 0);
    act(&p, "xyzzy plugh frobnicate");
    snprintf(answer, 256, "%.*s", (int)strcspn(p.now.text, ".!\n"), p.now.text);
    CK(p.now.score < 1 && *answer);
}

static void check_random(dm_env *env)
{
    char answer[256], action[256];
    nonsense_answer(env, answer);
    for (dm_env_split split = 0; split < DM_ENV_SPLITS; split++)
        for (int64_t task = 0; task < (fast ? 20 : 200) && task < env->tasks[split]; task++) {
            play p = begin(env, split, task, 1);
            while (!p.now.done) {
                choose(&p, (uint64_t)task, action);
                act(&p, action);
                CK_MSG(strncmp(p.now.text, answer, strlen(answer)) != 0, "%s: '%s' is admissible, and '%s'",
                       env->class->name, action, p.now.text);
            }
        }
}

/* The expert continues where others have erred, with actions that are possible. */
static void check_advice(dm_env *env)
{
    char answer[256], action[256];
    nonsense_answer(env, answer);
    for (int64_t task = 0; task < (fast ? 20 : 200) && task < env->tasks[0]; task++) {
        play p = begin(env, DM_ENV_SPLIT_TRAIN, task, 2);
        while (!p.now.done) {
            const bool erring = draw(1000, task + p.turns, 3) == 0;
            if (erring || !expert(&p, action)) {
                choose(&p, (uint64_t)task, action);
            } else {
                CK_MSG(expert(&p, action), "the expert is of two minds");
            }
            act(&p, action);
            CK_MSG(strncmp(p.now.text, answer, strlen(answer)) != 0, "%s: '%s' was to be done, and '%s'",
                   env->class->name, action, p.now.text);
        }
    }
}

static void check_nonsense(dm_env *env)
{
    static char endless[100001];
    static const char *const words[] = {
        "",
        " ",
        "\t\r\n",
        "\x01\x02\x1b[31m",
        "\xff\xfe\xc0\x80",
        "\xf0\x9f",
        "%s%n%d",
        "go",
        "go to",
        "go to ",
        "take  from ",
        "put  in/on ",
        "open ",
        "use",
        "search[",
        "click[",
        "click[]",
        "search[]",
        "]",
        "look look",
        "LOOK",
        "Action:",
        "OK",
        "examine  1 1",
        "999999999999999",
        "-1",
        "\n\n\n",
        endless,
    };
    enum { WORDS = sizeof words / sizeof *words };
    char action[256];

    memset(endless, 'a', sizeof endless - 1);
    for (int64_t task = 0; task < (fast ? 10 : 60); task++) {
        play p = begin(env, DM_ENV_SPLIT_UNSEEN, task % env->tasks[DM_ENV_SPLIT_UNSEEN], 0);
        for (uint64_t k = (uint64_t)task; !p.now.done; k += 5) {
            if (k % 3 == 0) { /* random bytes */
                for (int64_t i = 0; i < 40; i++)
                    action[i] = (char)(1 + draw(2000 + k, i, 255));
                action[draw(2100 + k, 0, 40)] = 0;
                action[40] = 0;
                act(&p, action);
            } else if (k % 3 == 1) { /* an action with one byte changed, or cut */
                choose(&p, k, action);
                action[draw(3000 + k, 0, (uint32_t)strlen(action))] = (char)draw(3000 + k, 1, 256);
                act(&p, action);
            } else {
                act(&p, words[k % WORDS]);
            }
        }
        CK(p.turns <= env->max_turns);
    }
}

/* ---- nothing is left behind ---- */

/* Plays at random and with the expert's help, `most` turns. */
static void play_mixed(play *p, uint64_t stream, int64_t most, char hex[DM_SHA256_HEX])
{
    char action[256];
    while (!p->now.done && p->turns < most) {
        if (draw(stream, 500 + p->turns, 4) == 0 || !expert(p, action))
            choose(p, stream, action);
        act(p, action);
    }
    finish(p, hex);
}

static void check_fresh(dm_env *env)
{
    char first[DM_SHA256_HEX], again[DM_SHA256_HEX], other[DM_SHA256_HEX];
    dm_env *fresh = open_env(env->class);

    for (int64_t task = 0; task < (fast ? 10 : 50); task++) {
        play p = begin(fresh, DM_ENV_SPLIT_TRAIN, task, 3), q;
        play_mixed(&p, (uint64_t)task, INT64_MAX, first);
        q = begin(env, DM_ENV_SPLIT_SEEN, task, 0); /* not to its end */
        play_mixed(&q, 9, 1 + task % 7, other);
        q = begin(env, DM_ENV_SPLIT_TRAIN, task, 3);
        play_mixed(&q, (uint64_t)task, INT64_MAX, again);
        CK_MSG(strcmp(first, again) == 0, "%s: task %lld is another one the second time", env->class->name,
               (long long)task);
        CK(strcmp(first, other) != 0);
    }
    dm_env_close(&fresh);
    CK(!fresh);
}

static void check_side_by_side(const dm_env_class *class)
{
    enum { N = 3 };
    char alone[N][DM_SHA256_HEX], together[DM_SHA256_HEX], action[256];
    dm_env *env[N];
    play p[N];

    for (int i = 0; i < N; i++) {
        env[i] = open_env(class);
        p[i] = begin(env[i], DM_ENV_SPLIT_TRAIN, i, 0);
        play_mixed(&p[i], (uint64_t)i, INT64_MAX, alone[i]);
    }
    for (int i = 0; i < N; i++)
        p[i] = begin(env[i], DM_ENV_SPLIT_TRAIN, i, 0);
    for (bool going = true; going;) {
        going = false;
        for (int i = 0; i < N; i++) {
            if (p[i].now.done)
                continue;
            going = true;
            if (draw((uint64_t)i, 500 + p[i].turns, 4) == 0 || !expert(&p[i], action))
                choose(&p[i], (uint64_t)i, action);
            act(&p[i], action);
        }
    }
    for (int i = 0; i < N; i++) {
        finish(&p[i], together);
        CK_MSG(strcmp(alone[i], together) == 0, "%s: environments side by side disturb each other", class->name);
        dm_env_close(&env[i]);
    }
}

/* ---- the same texts everywhere ---- */

static void check_texts(dm_env *env)
{
    const char *want = "unknown";
    char hex[DM_SHA256_HEX];
    dm_sha256 all;

    dm_sha256_init(&all);
    add_text(&all, env->instruction);
    for (dm_env_split split = 0; split < DM_ENV_SPLITS; split++)
        for (int64_t task = 0; task < 60; task++) {
            play p = begin(env, split, task, (uint64_t)task % 3);
            play_expert(&p);
            finish(&p, hex);
            add_text(&all, hex);
            p = begin(env, split, task, (uint64_t)task % 3);
            play_mixed(&p, (uint64_t)task, INT64_MAX, hex);
            add_text(&all, hex);
        }
    dm_sha256_finish(&all, hex);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].name, env->class->name) == 0)
            want = texts[i].sha256;
    CK_MSG(strcmp(hex, want) == 0, "%s: the texts of 360 episodes are %s, not %s: if they are meant to be, say so here",
           env->class->name, hex, want);
}

int main(void)
{
    fast = getenv("DMPO_TEST_FAST") != NULL;
    for (size_t i = 0; dm_env_classes[i]; i++) {
        dm_env *env = open_env(dm_env_classes[i]);
        if (!env)
            continue;
        check_interface(env);
        for (uint64_t seed = 0; seed < 3; seed++)
            check_expert(env, seed);
        check_random(env);
        check_advice(env);
        check_nonsense(env);
        check_fresh(env);
        check_side_by_side(env->class);
        check_texts(env);
        dm_env_close(&env);
    }
    return ck_done("env");
}
