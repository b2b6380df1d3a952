/* Environment `home`: tasks that no two splits share, an expert that knows only what was seen and continues
 * from anywhere, what every action does and why it does not, few words and short texts. What holds for every
 * environment is in test_env. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/home/home.h"
#include "agent/env/registry.h"
#include "tests/support/check.h"
#include "core/numbers/philox.h"

static dm_env *env;
static dm_observation now;

static dm_home *home(void)
{
    return (dm_home *)env;
}

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

static int draw(uint64_t stream, uint64_t counter, int below)
{
    return (int)(dm_random(5, DM_RNG_TEST, stream, counter).v[0] % (uint32_t)below);
}

/* ---- splits ---- */

enum { TRIPLES = DM_HOME_TYPES * DM_HOME_THING_KINDS * DM_HOME_PLACE_KINDS };

static int triple(const dm_home_task *t)
{
    return ((int)t->type * DM_HOME_THING_KINDS + t->object) * DM_HOME_PLACE_KINDS + t->target;
}

static int with_sources(const dm_home_task *t)
{
    return (triple(t) * DM_HOME_PLACE_KINDS + t->source[0]) * (DM_HOME_PLACE_KINDS + 1) + t->source[1] + 1;
}

static void check_splits(void)
{
    static unsigned char words[TRIPLES], all[TRIPLES * DM_HOME_PLACE_KINDS * (DM_HOME_PLACE_KINDS + 1)];
    /* pairs of type, object, target that training has: the unseen combinations are of known pairs */
    static bool type_target[DM_HOME_TYPES][DM_HOME_PLACE_KINDS],
        object_target[DM_HOME_THING_KINDS][DM_HOME_PLACE_KINDS];
    int64_t types[DM_ENV_SPLITS][DM_HOME_TYPES] = {0};
    size_t combinations = 0, both = 0, unseen_words = 0, seen = 0, seen_only = 0;

    for (uint64_t seed = 0; seed < 3; seed++)
        for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++)
            for (int64_t k = 0; k < env->tasks[s]; k++) {
                reset(s, k, seed);
                const dm_home_task *t = &home()->task;
                words[triple(t)] |= (unsigned char)(1 << s);
                all[with_sources(t)] |= (unsigned char)(1 << s);
                types[s][t->type]++;
                if (s == DM_ENV_SPLIT_TRAIN)
                    type_target[t->type][t->target] = object_target[t->object][t->target] = true;
            }
    for (int i = 0; i < TRIPLES; i++) {
        combinations += words[i] != 0;
        unseen_words += words[i] == 1 << DM_ENV_SPLIT_UNSEEN;
        CK_MSG(words[i] == 1 << DM_ENV_SPLIT_UNSEEN || !(words[i] >> DM_ENV_SPLIT_UNSEEN & 1),
               "type, object and target %d of unseen are in another split too", i);
        seen += words[i] >> DM_ENV_SPLIT_SEEN & 1;
        seen_only += words[i] == 1 << DM_ENV_SPLIT_SEEN;
    }
    for (size_t i = 0; i < sizeof all; i++)
        both += (all[i] & (all[i] - 1)) != 0;
    CK_MSG(seen > 120 && seen_only * 50 < seen, "train lacks %zu of the %zu combinations of seen", seen_only, seen);
    CK_MSG(both == 0, "%zu combinations of type, object, target and sources are in two splits", both);
    CK_MSG(combinations > 400 && unseen_words > 80, "only %zu combinations, %zu of them unseen", combinations,
           unseen_words);
    for (int type = 0; type < DM_HOME_TYPES; type++)
        for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++)
            CK_MSG(types[s][type] * 12 > env->tasks[s] * 3, "type %d has %lld of %lld tasks of %s", type,
                   (long long)types[s][type], (long long)env->tasks[s] * 3, dm_env_split_names[s]);
    for (int i = 0; i < TRIPLES; i++) {
        const int target = i % DM_HOME_PLACE_KINDS, object = i / DM_HOME_PLACE_KINDS % DM_HOME_THING_KINDS,
                  type = i / DM_HOME_PLACE_KINDS / DM_HOME_THING_KINDS;
        if (words[i] && type != DM_HOME_EXAMINE)
            CK_MSG(type_target[type][target] && object_target[object][target], "a pair of %s, %s is new in unseen",
                   dm_home_things[object].name, dm_home_places[target].name);
    }
}

/* ---- words ---- */

typedef struct vocabulary {
    char word[256][24];
    int n;
} vocabulary;

static bool find_word(const vocabulary *v, const char *word, size_t size)
{
    for (int i = 0; i < v->n; i++)
        if (strlen(v->word[i]) == size && memcmp(v->word[i], word, size) == 0)
            return true;
    return false;
}

/* Words are separated by blanks, and by what ends sentences and clauses. Returns how many there are; `learn` those that
 * are not in it yet, else counts them in *news. */
static int words_of(const char *text, vocabulary *v, bool learn, int *news)
{
    int n = 0;
    for (const char *p = text; *(p += strspn(p, " \n.,:"));) {
        const size_t size = strcspn(p, " \n.,:");
        n++;
        if (!find_word(v, p, size)) {
            ++*news;
            if (learn && v->n < 256 && size < sizeof v->word[0])
                snprintf(v->word[v->n++], sizeof v->word[0], "%.*s", (int)size, p);
        }
        p += size;
    }
    return n;
}

static void check_words(void)
{
    static vocabulary v;
    int news = 0, longest = 0;
    int64_t turns = 0;

    CK_MSG(words_of(env->instruction, &v, true, &news) <= 45, "the instruction is too long");
    for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++) {
        news = 0;
        for (int64_t k = 0; k < env->tasks[s]; k++) {
            reset(s, k, 0);
            const char *room = strstr(now.text, "\n\n") + 2;
            words_of(now.text, &v, s == DM_ENV_SPLIT_TRAIN, &news);
            int n = words_of(room, &v, false, &news) - 1; /* "Observation" */
            longest = n > longest ? n : longest;
            while (!now.done) {
                const char *action = env->class->expert(env);
                words_of(action, &v, s == DM_ENV_SPLIT_TRAIN, &news);
                step(action);
                n = words_of(now.text, &v, s == DM_ENV_SPLIT_TRAIN, &news);
                longest = n > longest ? n : longest;
                turns += s == DM_ENV_SPLIT_TRAIN;
            }
            CK(home()->turns <= DM_HOME_EXPERT_TURNS);
        }
        CK_MSG(s == DM_ENV_SPLIT_TRAIN || news == 0, "%d words of %s are not learnt in training", news,
               dm_env_split_names[s]);
    }
    CK_MSG(v.n <= 150, "%d different words", v.n);
    CK_MSG(longest <= 25, "an observation of %d words", longest);
    CK_MSG(turns > 6 * env->tasks[0] && turns < 9 * env->tasks[0], "%lld turns in %lld episodes of the expert",
           (long long)turns, (long long)env->tasks[0]);
}

/* ---- the expert ---- */

/* Moves what has not been seen among the places that have not been. */
static void rearrange(dm_home *h, uint64_t stream)
{
    int hidden[DM_HOME_PLACES], n = 0;
    for (int i = 0; i < h->places; i++)
        if (!h->place[i].seen)
            hidden[n++] = i;
    for (int i = 0; i < h->things; i++)
        if (h->thing[i].where >= 0 && !h->place[h->thing[i].where].seen)
            h->thing[i].where = hidden[draw(stream, (uint64_t)i, n)];
}

/* Its actions follow from what has been seen: they are the same in every house that looks the same so far. */
static void check_knowledge(void)
{
    char action[DM_HOME_ACTION];
    for (int64_t k = 0; k < 300; k++) {
        reset(k % DM_ENV_SPLITS, k / DM_ENV_SPLITS, 1);
        while (!now.done) {
            snprintf(action, sizeof action, "%s", dm_home_expert(home()));
            for (uint64_t i = 0; i < 4; i++) {
                dm_home other = *home();
                rearrange(&other, (uint64_t)k * 100 + (uint64_t)home()->turns * 4 + i);
                const char *then = dm_home_expert(&other);
                CK_MSG(then && strcmp(then, action) == 0, "the expert knows what is hidden: '%s' or '%s'", action,
                       then ? then : "nothing");
            }
            step(action);
        }
    }
}

/* After 30 actions at random, past the turn limit, the task can still be done, and the expert does it. */
static void check_recovery(void)
{
    const char *const *actions;
    for (int64_t k = 0; k < 300; k++) {
        int left = 24;
        reset(k % DM_ENV_SPLITS, k / DM_ENV_SPLITS, 2);
        dm_home *h = home();
        for (uint64_t i = 0; i < 30 && !h->done; i++) {
            h->turns = 0;
            const size_t n = env->class->admissible(env, &actions);
            char action[DM_HOME_ACTION];
            snprintf(action, sizeof action, "%s", actions[draw(1000 + (uint64_t)k, i, (int)n)]);
            dm_home_act(h, action);
        }
        while (!h->done && left-- > 0)
            dm_home_act(h, dm_home_expert(h));
        CK_MSG(h->done, "task %lld: the expert is lost: '%s'", (long long)k, h->text);
    }
}

/* ---- actions ---- */

/* A kitchen with things where the examples want them. */
static void furnish(dm_home_type type, int object, int target)
{
    static const int places[] = {DM_HOME_FRIDGE,  DM_HOME_MICROWAVE, DM_HOME_SINKBASIN,
                                 DM_HOME_CABINET, DM_HOME_CABINET,   DM_HOME_SHELF};
    dm_home *h = home();
    reset(DM_ENV_SPLIT_TRAIN, 0, 0);
    h->task = (dm_home_task){.type = type, .object = object, .target = target};
    h->places = 0;
    for (int i = 0; i < 6; i++)
        h->place[h->places++] = (dm_home_place){places[i], 1 + (i == 4), !dm_home_places[places[i]].opens, false};
    h->things = 3;
    h->thing[0] = (dm_home_thing){.kind = 4, .number = 2, .where = 3}; /* mug 2 in cabinet 1 */
    h->thing[1] = (dm_home_thing){.kind = 5, .number = 1, .where = 5}; /* cup 1 on the shelf */
    h->thing[2] = (dm_home_thing){.kind = 4, .number = 3, .where = 5}; /* mug 3 */
}

static void answers(const char *action, const char *want)
{
    step(action);
    CK_MSG(strcmp(now.text, want) == 0, "'%s': '%s', not '%s'", action, now.text, want);
}

static void check_actions(void)
{
    CK(strcmp(dm_home_things[4].name, "mug") == 0 && strcmp(dm_home_things[5].name, "cup") == 0);

    furnish(DM_HOME_CLEAN, 4, DM_HOME_CABINET);
    answers("look", "You are in a kitchen. You see fridge 1, microwave 1, sinkbasin 1, cabinet 1, cabinet 2, shelf 1.");
    answers("open cabinet 1", "Nothing happens. You are not at the cabinet 1.");
    answers("go to cabinet 3", "Nothing happens. It is not there.");
    answers("  go  to\tcabinet 1 \r", "The cabinet 1 is closed.");
    answers("go to cabinet 1", "Nothing happens. You are at the cabinet 1.");
    answers("take mug 2 from cabinet 1", "Nothing happens. The cabinet 1 is closed.");
    answers("examine mug 2", "Nothing happens. It is not there.");
    answers("close cabinet 1", "Nothing happens. The cabinet 1 is closed.");
    answers("open cabinet 1", "In the cabinet 1, you see mug 2.");
    answers("open cabinet 1", "Nothing happens. The cabinet 1 is open.");
    answers("take cup 1 from cabinet 1", "Nothing happens. It is not there.");
    answers("inventory", "You carry nothing.");
    answers("take mug 2 from cabinet 1", "You take the mug 2.");
    answers("inventory", "You carry mug 2.");
    answers("close cabinet 1", "You close the cabinet 1.");
    answers("put mug 2 in/on cabinet 1", "Nothing happens. The cabinet 1 is closed.");
    answers("go to shelf 1", "On the shelf 1, you see cup 1, mug 3.");
    answers("take mug 3 from shelf 1", "Nothing happens. You carry mug 2.");
    answers("open shelf 1", "Nothing happens. The shelf 1 has no door.");
    CK(!now.done);
    answers("examine mug 2", "The mug 2 is normal.");
    CK(now.done && now.score == 0); /* turn 20 */

    furnish(DM_HOME_CLEAN, 4, DM_HOME_CABINET);
    answers("go to shelf 1", "On the shelf 1, you see cup 1, mug 3.");
    answers("take mug 3 from shelf 1", "You take the mug 3.");
    answers("clean mug 3 with shelf 1", "Nothing happens. The shelf 1 can not clean.");
    answers("clean mug 3 with sinkbasin 1", "Nothing happens. You are not at the sinkbasin 1.");
    answers("go to sinkbasin 1", "On the sinkbasin 1, you see nothing.");
    answers("clean mug 2 with sinkbasin 1", "Nothing happens. You do not carry it.");
    answers("heat mug 3 with sinkbasin 1", "Nothing happens. The sinkbasin 1 can not heat.");
    answers("clean mug 3 with sinkbasin 1", "You clean the mug 3.");
    answers("examine mug 3", "The mug 3 is clean.");
    answers("go to cabinet 2", "The cabinet 2 is closed.");
    answers("open cabinet 2", "In the cabinet 2, you see nothing.");
    CK(now.score == 0);
    answers("put mug 3 in cabinet 2", "You put down the mug 3."); /* "in" and "on" will do */
    CK(now.score == 1 && now.done);

    furnish(DM_HOME_HEAT, 4, DM_HOME_SHELF);
    step("go to shelf 1");
    step("take mug 3 from shelf 1");
    answers("put mug 3 in/on shelf 1", "You put down the mug 3.");
    CK(now.score == 0); /* it is not hot */
    step("take mug 3 from shelf 1");
    step("go to microwave 1");
    answers("heat mug 3 with microwave 1", "You heat the mug 3.");
    answers("go to fridge 1", "The fridge 1 is closed.");
    answers("examine mug 3", "The mug 3 is normal and hot.");
    answers("cool mug 3 with fridge 1", "You cool the mug 3.");
    answers("examine mug 3", "The mug 3 is normal and cool.");
    answers("go to shelf 1", "On the shelf 1, you see cup 1.");
    answers("put mug 3 in/on shelf 1", "You put down the mug 3.");
    CK(now.score == 0); /* not any more */

    furnish(DM_HOME_TWO, 4, DM_HOME_SHELF);
    step("go to cabinet 1");
    step("open cabinet 1");
    step("take mug 2 from cabinet 1");
    CK(now.score == 0);
    step("go to shelf 1");
    step("put mug 2 on shelf 1");
    CK(now.score == 1);

    furnish(DM_HOME_EXAMINE, 4, DM_HOME_DESK);
    answers("use desklamp 1", "Nothing happens. You are not at the desklamp 1.");
    home()->place[4] = (dm_home_place){DM_HOME_DESK, 1, true, false};
    answers("go to desk 1", "On the desk 1, you see desklamp 1.");
    answers("use desklamp 1", "You turn on the desklamp 1.");
    CK(now.score == 0);
    step("go to shelf 1");
    step("take cup 1 from shelf 1");
    step("go to desk 1");
    step("use desklamp 1");
    CK(now.score == 0); /* not that one */
    answers("put cup 1 in/on desk 1", "You put down the cup 1.");
    answers("examine desk 1", "On the desk 1, you see cup 1, desklamp 1.");
    step("go to shelf 1");
    step("take mug 3 from shelf 1");
    step("go to desk 1");
    CK(now.score == 0);
    step("use desklamp 1");
    CK(now.score == 1);
}

int main(void)
{
    dm_error err = {0};
    if (!CK_MSG(dm_env_open(&env, "home", &err) == DM_OK, "%s", err.message))
        return ck_done("home");
    check_splits();
    check_words();
    check_knowledge();
    check_recovery();
    check_actions();
    dm_env_close(&env);
    return ck_done("home");
}
