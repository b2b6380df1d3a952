/* Environment `lab`: splits that do not overlap, few words and short texts, what its actions do, its physics, its
 * sub-goals, and an expert that continues from wherever random play has led. What holds for every environment is in
 * test_env. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/lab/lab.h"
#include "agent/env/registry.h"
#include "tests/support/check.h"
#include "core/numbers/philox.h"

static dm_env *env;
static dm_observation now;

static dm_lab *state(void)
{
    return (dm_lab *)env;
}

static void reset(dm_env_split split, int64_t task, uint64_t seed)
{
    dm_error err;
    CK(dm_env_reset(env, split, task, seed, &now, &err) == DM_OK);
}

static void step(const char *action)
{
    dm_error err;
    CK_MSG(dm_env_step(env, action, &now, &err) == DM_OK, "'%s': %s", action, err.message);
}

static bool says(const char *what)
{
    return strstr(now.text, what) != NULL;
}

/* ---- splits ---- */

enum { ALL = DM_LAB_TRAIN_TASKS + 2 * DM_LAB_OTHER_TASKS };

static bool same_combination(const dm_lab_task *a, const dm_lab_task *b)
{
    return a->type == b->type && a->object == b->object && a->place[0] == b->place[0] && a->place[1] == b->place[1];
}

/* Of what the words of a find task say. */
static bool same_box(const dm_lab_task *a, const dm_lab_task *b)
{
    return a->type == b->type && (a->type == DM_LAB_FIND_LIVING || a->type == DM_LAB_FIND_PLASTIC) &&
           a->box[0] == b->box[0] && a->box_room == b->box_room;
}

static bool same_task(const dm_lab_task *a, const dm_lab_task *b)
{
    return same_combination(a, b) && a->start == b->start && a->hidden[0] == b->hidden[0] &&
           a->hidden[1] == b->hidden[1] && a->vessel == b->vessel && a->box[0] == b->box[0] && a->box[1] == b->box[1] &&
           a->box_room == b->box_room && a->degrees == b->degrees && a->any == b->any;
}

static void check_splits(void)
{
    dm_lab_task *t = calloc(ALL, sizeof *t);
    dm_env_split *split = calloc(ALL, sizeof *split);
    size_t n = 0, repeated = 0, shared = 0, alone = 0;

    for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++)
        for (int64_t i = 0; i < env->tasks[s]; i++, n++) {
            dm_lab_task_at(&t[n], s, i);
            split[n] = s;
        }
    CK(n == ALL);
    for (size_t a = 0; a < n; a++) {
        bool object = false, place = false, company = false;
        for (size_t b = 0; b < n; b++) {
            repeated += a < b && same_task(&t[a], &t[b]);
            const bool same = same_combination(&t[a], &t[b]);
            shared += (same || same_box(&t[a], &t[b])) &&
                      (split[a] == DM_ENV_SPLIT_UNSEEN) != (split[b] == DM_ENV_SPLIT_UNSEEN);
            if (split[b] == DM_ENV_SPLIT_TRAIN && t[a].type == t[b].type) {
                object |= t[a].object == t[b].object;
                place |= t[a].place[0] == t[b].place[0];
                company |= same;
            }
        }
        alone += !object || !place || (split[a] != DM_ENV_SPLIT_UNSEEN && !company);
    }
    CK_MSG(repeated == 0, "%zu pairs of tasks are the same", repeated);
    CK_MSG(shared == 0, "%zu combinations of unseen are another split's too", shared);
    CK_MSG(alone == 0, "%zu tasks have an object or place that training lacks", alone);
    free(t);
    free(split);
}

/* ---- words ---- */

enum { MOST_WORDS = 170, WORD = 24 };

static char words[MOST_WORDS + 1][WORD];
static size_t n_words;
static bool new_words; /* may come; else they are counted */
static size_t unknown_words;

static size_t count_words(const char *text)
{
    size_t count = 0;
    while (*(text += strspn(text, " .,:()\n"))) {
        char word[WORD] = {0};
        const size_t size = strcspn(text, " .,:()\n");
        CK(size < WORD);
        memcpy(word, text, size < WORD ? size : 0);
        size_t i = 0;
        while (i < n_words && strcmp(words[i], word) != 0)
            i++;
        if (i == n_words && new_words && n_words <= MOST_WORDS)
            strcpy(words[n_words++], word);
        else if (i == n_words)
            unknown_words++;
        text += size;
        count++;
    }
    return count;
}

/* ---- the expert ---- */

static bool possible(const char *action)
{
    const char *const *list;
    const size_t n = env->class->admissible(env, &list);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], action) == 0)
            return true;
    return false;
}

static int solve(size_t *length)
{
    int turns = 0;
    while (!now.done) {
        const char *advice = env->class->expert(env);
        char action[DM_LAB_ACTION_SIZE];
        if (!advice)
            break;
        CK_MSG(possible(advice), "'%s' is not possible", advice);
        strcpy(action, advice);
        *length += count_words(action);
        const double before = now.score;
        step(action);
        CK(now.score >= before);
        const size_t said = count_words(now.text);
        CK_MSG(said <= 30, "%zu words: %s", said, now.text);
        *length += said;
        turns++;
    }
    return turns;
}

static void check_expert(int seeds)
{
    size_t episodes = 0, length = 0, longest = 0, turns = 0;
    new_words = true;
    const size_t instruction = count_words(env->instruction);
    CK(instruction <= 50);
    for (int seed = 0; seed < seeds; seed++)
        for (dm_env_split s = 0; s < DM_ENV_SPLITS; s++)
            for (int64_t t = 0; t < env->tasks[s]; t++, episodes++) {
                size_t here = 0;
                new_words = s == DM_ENV_SPLIT_TRAIN;
                reset(s, t, (uint64_t)seed);
                here += count_words(now.text);
                CK_MSG(here <= 75, "%zu words: %s", here, now.text);
                turns += (size_t)solve(&here);
                CK_MSG(now.score == 1 && now.done, "%s task %lld seed %d: %g", dm_env_split_names[s], (long long)t,
                       seed, now.score);
                length += here;
                longest = here > longest ? here : longest;
            }
    CK_MSG(n_words <= MOST_WORDS, "%zu words and more", n_words);
    CK_MSG(unknown_words == 0, "%zu words of seen and unseen are not in train", unknown_words);
    CK(longest < 350);
    printf("expert: %.2f turns, %.1f words (longest %zu), %zu different words\n", (double)turns / (double)episodes,
           (double)length / (double)episodes, longest, n_words);
}

/* The same world with all that has not been seen otherwise: things elsewhere, doors, stove, temperatures, metals. */
static void dream(dm_lab *l, uint64_t stream)
{
    int place[DM_LAB_ROOMS * 2], places = 0;
    for (int r = 0; r < DM_LAB_ROOMS; r++) {
        if (!l->visited[r])
            place[places++] = r;
        if (!l->open[DM_LAB_CLOSET + r])
            place[places++] = DM_LAB_CLOSET + r;
    }
    for (int t = DM_LAB_SELF + 1; t < DM_LAB_THINGS; t++) {
        const int kind = dm_lab_items[t].kind;
        if (kind == DM_LAB_IS_DOOR && !l->seen[t])
            l->open[t] = !l->open[t];
        else if (kind & (DM_LAB_PORTABLE & ~DM_LAB_IS_SUBSTANCE) && !l->seen[t] && l->where[t] != DM_LAB_NOWHERE &&
                 places > 0)
            l->where[t] = place[dm_random(3, DM_RNG_TEST, stream, (uint64_t)t).v[0] % (uint32_t)places];
        else if (kind == DM_LAB_IS_SUBSTANCE && !l->measured)
            l->degrees[t] = 90 - l->degrees[t];
        else if (kind == DM_LAB_IS_SAMPLE && !l->goal[2])
            l->conducts[t] = !l->conducts[t];
    }
    l->broken ^= !l->found_broken;
}

static void check_ignorance(int tasks)
{
    static dm_lab other;
    for (int t = 0; t < tasks; t++)
        for (reset(DM_ENV_SPLIT_SEEN, t, 1); !now.done;) {
            char action[DM_LAB_ACTION_SIZE];
            other = *state();
            dream(&other, (uint64_t)(100 * t + state()->turns));
            strcpy(action, env->class->expert(env));
            const char *dreamt = env->class->expert(&other.env);
            CK_MSG(dreamt && strcmp(dreamt, action) == 0, "task %d: '%s', but '%s' if what is not seen were otherwise",
                   t, action, dreamt ? dreamt : "nothing");
            step(action);
        }
}

/* Random play that avoids the fatal: then the expert still has a way, unless an ingredient or the turns are gone. */
static void check_recovery(int tasks)
{
    size_t solved = 0, lost = 0;
    for (int t = 0; t < tasks; t++) {
        reset(DM_ENV_SPLIT_TRAIN, t, 7);
        for (uint64_t k = 0; k < 8 && !now.done; k++) {
            const char *const *list;
            const size_t n = env->class->admissible(env, &list);
            const uint32_t r = dm_random(7, DM_RNG_TEST, (uint64_t)t, k).v[0] % (uint32_t)n;
            char action[DM_LAB_ACTION_SIZE];
            strcpy(action, list[r]);
            if (strncmp(action, "focus", 5) != 0)
                step(action);
        }
        if (now.done) /* into the wrong box */
            continue;
        state()->turns = -50; /* whatever the way there has cost */
        size_t length = 0;
        solve(&length);
        if (!now.done) /* the expert gave up: what it takes is in a product */
            lost++;
        else if (CK_MSG(now.score == 1, "task %d: %g", t, now.score))
            solved++;
    }
    CK_MSG(lost * 50 <= solved, "%zu lost, %zu solved", lost, solved);
}

/* ---- worlds made for a purpose ---- */

/* All doors open, nothing broken, everything in the open, no animals; the agent stands in `start`. */
static dm_lab *world(dm_lab_task task, int start)
{
    reset(DM_ENV_SPLIT_TRAIN, 0, 0);
    dm_lab *l = state();
    task.start = start;
    l->task = task;
    dm_lab_build(l);
    l->broken = false;
    for (int t = 0; t < DM_LAB_THINGS; t++) {
        if (dm_lab_items[t].kind == DM_LAB_IS_DOOR)
            l->open[t] = true;
        if (dm_lab_items[t].kind == DM_LAB_IS_LIFE && t != task.object)
            l->where[t] = DM_LAB_NOWHERE;
        if (l->where[t] >= DM_LAB_CLOSET && l->where[t] < DM_LAB_CLOSET + DM_LAB_ROOMS)
            l->where[t] -= DM_LAB_CLOSET;
    }
    dm_lab_notice(l);
    now.done = 0;
    return l;
}

static dm_lab *with_substance(dm_lab_type type, int substance, int place)
{
    return world((dm_lab_task){.type = type,
                               .object = substance,
                               .place = {place, DM_LAB_NOWHERE},
                               .vessel = DM_LAB_VESSEL,
                               .box = {DM_LAB_BOX, DM_LAB_BOX + 1},
                               .box_room = type == DM_LAB_MEASURE ? DM_LAB_KITCHEN : DM_LAB_NOWHERE,
                               .degrees = 50},
                 place);
}

static void check_answers(void)
{
    static const struct {
        const char *action, *answer;
    } said[] = {
        {"frobnicate", "No known action matches that input."},
        {"", "No known action matches that input."},
        {"open", "No known action matches that input."},
        {"open nothing", "No known action matches that input."},
        {"open cup", "No known action matches that input."},
        {"pick up stove", "No known action matches that input."},
        {"focus on kitchen", "No known action matches that input."},
        {"move water", "No known action matches that input."},
        {"move water to", "No known action matches that input."},
        {"move furnace to freezer", "No known action matches that input."}, /* it is in another room */
        {"mix water and then wait for a very long time until something happens", "No known action matches that input."},
        {"go to kitchen", "That is not possible."}, /* one is there */
        {"go to hallway", "No known action matches that input."},
        {"open door to kitchen", "No known action matches that input."}, /* it is behind */
        {"open door to studio", "It is already open."},
        {"close freezer", "It is already closed."},
        {"move water to freezer", "It is closed."},
        {"move water to stove", "That is not possible."}, /* a cup stands no heat */
        {"pour water into cup", "That is not possible."}, /* it is there */
        {"pour pot into cup", "That is not possible."},   /* it is empty */
        {"mix water", "That is not possible."},
        {"put down water", "That is not possible."},
        {"deactivate stove", "It is already off."},
        {"inventory", "You hold nothing."},
        {"wait", "You wait."},
        {"  Open  The FREEZER. ", "The freezer is now open. You see nothing."},
        {"open freezer", "It is already open."},
        {"pick up cup of water", "You pick up the cup."},
        {"pick up water", "That is not possible."},
        {"inventory", "You hold cup of water."},
    };
    dm_lab *l = with_substance(DM_LAB_BOIL, DM_LAB_WATER, DM_LAB_KITCHEN);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        l->turns = 0;
        step(said[i].action);
        CK_MSG(strcmp(now.text, said[i].answer) == 0, "'%s': '%s'", said[i].action, now.text);
    }
    step("move a pot to the freezer");
    CK(l->where[DM_LAB_POT] == DM_LAB_FREEZER);
    step("look at freezer");
    CK(says("You see freezer (pot)."));
    l->turns = 0;
    step("close door to studio");
    CK(says("The door is now closed."));
    step("go to studio");
    CK(strcmp(now.text, "The door is closed.") == 0 && dm_lab_here(l) == DM_LAB_KITCHEN);
    step("open door to studio");
    CK(says("The door is now open."));
    step("go to studio");
    CK(strcmp(now.text, "You are in the studio. You see cabinet.") == 0 && dm_lab_here(l) == DM_LAB_STUDIO);
    step("look around");
    CK(strcmp(now.text, "You are in the studio. You see cabinet.") == 0);
    step("open cabinet");
    step("look around");
    CK(strcmp(now.text, "You are in the studio. You see cabinet (open).") == 0);
    CK(l->where[DM_LAB_WATER] == DM_LAB_VESSEL && dm_lab_room_of(l, DM_LAB_WATER) == DM_LAB_STUDIO);
    CK(now.score == 0 && !now.done);
}

/* 20 degrees, on a stove 40 more each turn to 200; in a closed freezer 20 less to -40; a furnace 200 more to 1000. */
static void check_heat(void)
{
    dm_lab *l = with_substance(DM_LAB_BOIL, DM_LAB_WATER, DM_LAB_KITCHEN);
    step("use thermometer on water");
    CK(says("The thermometer says 20 degrees."));
    step("focus on water");
    CK(now.score == 0.25);
    step("pour water into pot");
    CK(says("You pour the water into the pot.") && now.score == 0.25);
    step("move pot to stove");
    CK(now.score == 0.5);
    step("wait");
    CK(l->degrees[DM_LAB_WATER] == 20);
    step("activate stove");
    CK(l->degrees[DM_LAB_WATER] == 60 && now.score == 0.75 && !now.done);
    step("deactivate stove");
    CK(l->degrees[DM_LAB_WATER] == 60 && now.score == 0.75); /* what was reached is kept */
    step("activate stove");
    CK(says("The water is now boiling.") && l->degrees[DM_LAB_WATER] == 100 && now.score == 1 && now.done);
    now.done = 0;
    step("look at boiling water");
    CK(strcmp(now.text, "You see boiling water.") == 0);

    l = with_substance(DM_LAB_FREEZE, DM_LAB_MILK, DM_LAB_KITCHEN);
    step("focus on milk");
    step("open freezer");
    step("move milk to freezer");
    CK(now.score == 0.5);
    step("wait");
    CK(l->degrees[DM_LAB_MILK] == 20); /* it is open */
    step("close freezer");
    CK(l->degrees[DM_LAB_MILK] == 0 && now.score == 0.75);
    step("wait");
    CK(l->degrees[DM_LAB_MILK] == -20 && strcmp(now.text, "You wait.") == 0 && now.score == 1 && now.done);

    l = with_substance(DM_LAB_MELT, DM_LAB_LEAD, DM_LAB_WORKSHOP);
    step("focus on lead");
    step("pour lead into crucible");
    step("move crucible to furnace");
    step("activate furnace");
    CK(l->degrees[DM_LAB_LEAD] == 220 && now.score == 0.75);
    step("wait");
    CK(says("The lead is now liquid.") && now.score == 1);

    l = with_substance(DM_LAB_MELT, DM_LAB_LEAD, DM_LAB_KITCHEN); /* a stove is not hot enough */
    step("focus on lead");
    step("pour lead into pot");
    step("move pot to stove");
    step("activate stove");
    for (int i = 0; i < 6; i++)
        step("wait");
    CK(l->degrees[DM_LAB_LEAD] == DM_LAB_STOVE_DEGREES && now.score == 0.25);

    l = with_substance(DM_LAB_BOIL, DM_LAB_TEA, DM_LAB_KITCHEN);
    l->broken = true;
    step("activate stove");
    CK(says("The stove is broken.") && !l->on[DM_LAB_STOVE] && l->found_broken);
}

static void check_boxes(void)
{
    for (int above = 0; above < 2; above++)
        for (int right = 0; right < 2; right++) {
            dm_lab *l = with_substance(DM_LAB_MEASURE, DM_LAB_TEA, DM_LAB_KITCHEN);
            l->degrees[DM_LAB_TEA] = above ? 60 : 40;
            step("move tea to red box"); /* nothing is known yet, so nothing is judged */
            CK(now.score == 0 && !now.done);
            step("pick up tea");
            step("focus on thermometer");
            step("focus on tea");
            CK(now.score == 0.5);
            step("use thermometer on tea");
            CK(says(above ? "says 60 degrees." : "says 40 degrees.") && now.score == 0.75);
            step(above == right ? "move tea to red box" : "move tea to blue box");
            CK(now.done && now.score == (right ? 1 : 0.75));
        }
    for (int conducts = 0; conducts < 2; conducts++)
        for (int right = 0; right < 2; right++) {
            dm_lab *l = world((dm_lab_task){.type = DM_LAB_CONDUCT,
                                            .object = DM_LAB_SAMPLE,
                                            .place = {DM_LAB_WORKSHOP, DM_LAB_NOWHERE},
                                            .box = {DM_LAB_BOX + 2, DM_LAB_BOX + 3},
                                            .box_room = DM_LAB_WORKSHOP},
                              DM_LAB_WORKSHOP);
            l->conducts[DM_LAB_SAMPLE] = conducts;
            step("focus on coin");
            step("pick up coin");
            step("connect coin to battery");
            CK(l->where[DM_LAB_SAMPLE] == DM_LAB_WORKSHOP); /* it lies on the bench */
            step("activate switch");
            CK(!says("bulb") && now.score == 0.25);
            step("connect bulb to coin");
            CK(says(conducts ? "The bulb is on." : "The bulb is off.") && now.score == 0.75);
            step("pick up coin"); /* the circuit is open again */
            CK(!l->on[DM_LAB_BULB] && l->joined[0] == DM_LAB_NOWHERE && l->joined[1] == DM_LAB_NOWHERE);
            step(conducts == right ? "move coin to green box" : "move coin to yellow box");
            CK(now.done && now.score == (right ? 1 : 0.75));
        }
}

static void check_find(void)
{
    const dm_lab_task task = {.type = DM_LAB_FIND_LIVING,
                              .object = DM_LAB_ANIMAL,
                              .place = {DM_LAB_STUDIO, DM_LAB_NOWHERE},
                              .box = {DM_LAB_BOX, DM_LAB_BOX + 1},
                              .box_room = DM_LAB_KITCHEN};
    dm_lab *l = world(task, DM_LAB_STUDIO);
    l->where[DM_LAB_ANIMAL + 1] = DM_LAB_STUDIO; /* another animal is as good, but one is enough */
    step("focus on bird");
    CK(now.score == 0.25 && l->target == DM_LAB_ANIMAL + 1);
    step("pick up frog");
    CK(now.score == 0.25);
    step("pick up bird");
    CK(now.score == 0.5);
    step("go to kitchen");
    CK(now.score == 0.75);
    step("move frog to blue box");
    CK(!now.done);
    step("move bird to blue box");
    CK(now.done && now.score == 0.75);

    static const int wrong[] = {DM_LAB_PLASTIC, DM_LAB_PLANT, DM_LAB_CLOSET + 3};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char action[DM_LAB_ACTION_SIZE];
        l = world(task, DM_LAB_STUDIO);
        l->where[DM_LAB_PLASTIC] = l->where[DM_LAB_PLANT] = DM_LAB_STUDIO;
        step("pick up frog");
        snprintf(action, sizeof action, "focus on %s", dm_lab_items[wrong[i]].name);
        step(action);
        CK(says("That is wrong.") && now.done && now.score == 0);
    }
}

static void check_mix(void)
{
    const dm_lab_task task = {.type = DM_LAB_MIX,
                              .object = DM_LAB_PRODUCT + 1,
                              .place = {DM_LAB_STUDIO, DM_LAB_KITCHEN},
                              .vessel = DM_LAB_VESSEL,
                              .box_room = DM_LAB_NOWHERE};
    dm_lab *l = world(task, DM_LAB_STUDIO);
    for (int i = 0; i < 2; i++) { /* all in the studio, with red paint */
        const int part = dm_lab_recipes[1][i];
        l->where[part] = DM_LAB_VESSEL + i;
        l->where[DM_LAB_VESSEL + i] = DM_LAB_STUDIO;
    }
    l->where[DM_LAB_RED] = DM_LAB_VESSEL + 2;
    l->where[DM_LAB_VESSEL + 2] = DM_LAB_STUDIO;
    step("pick up blue paint");
    CK(now.score == 0.25);
    step("pour red paint into blue paint");
    step("pour blue paint into yellow paint");
    CK(now.score == 0.5);
    step("pour jug into yellow paint");
    CK(says("not possible")); /* what was in it is in the cup */
    step("pour cup into jar");
    step("mix jar");
    CK(says("Nothing happens.")); /* three are too many */
    l->where[DM_LAB_POT] = DM_LAB_STUDIO;
    l->home[DM_LAB_POT] = DM_LAB_STUDIO;
    dm_lab_notice(l);
    CK(strcmp(env->class->expert(env), "pour red paint into pot") == 0);
    step("pour red paint into jug");
    CK(strcmp(env->class->expert(env), "mix blue paint") == 0);
    step("mix yellow paint");
    CK(says("You mix blue paint and yellow paint to make green paint.") && now.score == 0.75);
    step("look at jar");
    CK(says("You see jar of green paint."));
    step("focus on green paint");
    CK(now.done && now.score == 1);

    l = world(task, DM_LAB_STUDIO); /* an ingredient is used up: there is no advice any more */
    l->where[DM_LAB_PRODUCT + 2] = l->where[DM_LAB_BLUE];
    l->where[DM_LAB_BLUE] = l->where[DM_LAB_RED] = DM_LAB_NOWHERE;
    CK(env->class->expert(env) == NULL);
    step("wait");
    CK(env->class->expert(env) == NULL && !now.done);
}

/* Where random play seldom comes. */
static void check_advice(void)
{
    dm_lab *l = world((dm_lab_task){.type = DM_LAB_FIND_LIVING,
                                    .object = DM_LAB_ANIMAL,
                                    .place = {DM_LAB_STUDIO, DM_LAB_NOWHERE},
                                    .box = {DM_LAB_BOX, DM_LAB_BOX + 1},
                                    .box_room = DM_LAB_STUDIO},
                      DM_LAB_STUDIO);
    step("move frog to blue box"); /* were it focused on there, it would be in the wrong one */
    CK(strcmp(env->class->expert(env), "pick up frog") == 0);
    step("move frog to red box");
    CK(strcmp(env->class->expert(env), "focus on frog") == 0);

    l = with_substance(DM_LAB_MEASURE, DM_LAB_TEA, DM_LAB_KITCHEN);
    step("focus on thermometer");
    step("pick up thermometer");
    step("focus on tea");
    step("move tea to blue box");
    CK(strcmp(env->class->expert(env), "pick up tea") == 0);
    step("pick up tea");
    CK(strcmp(env->class->expert(env), "use thermometer on tea") == 0);

    l = with_substance(DM_LAB_BOIL, DM_LAB_TEA, DM_LAB_KITCHEN); /* a furnace does as well as a stove */
    step("focus on tea");
    step("pour tea into pot");
    l->where[DM_LAB_POT] = DM_LAB_FURNACE;
    CK(strcmp(env->class->expert(env), "go to workshop") == 0);
    l->on[DM_LAB_FURNACE] = true;
    CK(strcmp(env->class->expert(env), "wait") == 0);

    l = with_substance(DM_LAB_BOIL, DM_LAB_TEA, DM_LAB_KITCHEN);
    step("focus on tea");
    step("pour tea into pot");
    step("move pot to stove");
    l->broken = true;
    CK(strcmp(env->class->expert(env), "activate stove") == 0); /* it does not know yet */
    step("activate stove");
    CK(strcmp(env->class->expert(env), "pick up pot") == 0);
}

int main(void)
{
    const bool fast = getenv("DMPO_TEST_FAST") != NULL;
    dm_error err;
    if (!CK(dm_env_open(&env, "lab", &err) == DM_OK))
        return ck_done("lab");
    check_splits();
    check_expert(fast ? 1 : 3);
    check_ignorance(DM_LAB_OTHER_TASKS);
    check_recovery(fast ? 200 : DM_LAB_TRAIN_TASKS);
    check_answers();
    check_heat();
    check_boxes();
    check_find();
    check_mix();
    check_advice();
    dm_env_close(&env);
    return ck_done("lab");
}
