/* Environment `shop`, after WebShop (Yao et al., arXiv 2207.01206): a search page, pages of results, a page for each
 * product with options, description and features; an instruction that one product or more fit, among others that miss
 * it by one thing. docs/environments.md shows an episode. agent/env/shop/shop.h: products, search, reward. */
#include "agent/env/shop/shop.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE = 3, /* results on one */
    TURNS = 12,
    TEXT = 512,
    ACTION = 96, /* bytes of the longest that is read; longer ones are not understood */
    ACTIONS = 24
};

typedef enum page { SEARCH, RESULTS, ITEM } page;

typedef struct dm_shop {
    dm_env env;
    dm_shop_goal goal;
    dm_shop_product product[DM_SHOP_PRODUCTS];
    size_t products;

    page page;
    int result[DM_SHOP_PRODUCTS];
    size_t results, first; /* of them, and the first one on the page */
    int item;
    int chosen[DM_SHOP_OPTIONS];
    int turn, done;
    double score;

    /* What the agent has seen of a product besides title and price. */
    int opened[DM_SHOP_PRODUCTS], read_features[DM_SHOP_PRODUCTS];

    char text[TEXT], expert[ACTION];
    char action[ACTIONS][ACTION];
    const char *actions[ACTIONS];
    size_t n_actions;
} dm_shop;

static const char instruction[] =
    "You buy a product in a web shop. Each turn, write one action: search[words] on the search page, or click[thing] "
    "for "
    "a thing in brackets. Choose the options before click[buy now]. Write Action: and the action.";

/* ---- pages as text ---- */

/* Texts are bounded by the catalogue's words; TEXT holds the longest with room to spare. */
static void add(dm_shop *s, const char *fmt, ...) DM_PRINTF(2, 3);

static void add(dm_shop *s, const char *fmt, ...)
{
    const size_t used = strlen(s->text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->text + used, TEXT - used, fmt, args);
    va_end(args);
}

static void add_attributes(dm_shop *s, uint32_t set, const char *between)
{
    const char *separator = "";
    for (int i = 0; i < DM_SHOP_ATTRIBUTES; i++)
        if (set >> i & 1) {
            add(s, "%s%s", separator, dm_shop_attribute_word(i));
            separator = between;
        }
}

static void add_product(dm_shop *s, const dm_shop_product *p)
{
    add_attributes(s, p->title, " ");
    add(s, " %s %d", dm_shop_type_word(p->type), p->price);
}

/* The id ends its line: a model that reads from left to right then knows what it stands for. */
static void add_results(dm_shop *s)
{
    const size_t end = s->first + PAGE < s->results ? s->first + PAGE : s->results;
    add(s, "page %zu of %zu\n", s->first / PAGE + 1, (s->results + PAGE - 1) / PAGE);
    for (size_t i = s->first; i < end; i++) {
        const dm_shop_product *p = &s->product[s->result[i]];
        add_product(s, p);
        add(s, " [B%d]\n", p->id);
    }
    add(s, "%s%s[back to search]", end < s->results ? "[next] " : "", s->first > 0 ? "[prev] " : "");
}

static void add_item(dm_shop *s)
{
    const dm_shop_product *p = &s->product[s->item];
    add_product(s, p);
    for (int k = 0; k < DM_SHOP_OPTIONS; k++) {
        const char *word;
        add(s, "\n%s", dm_shop_option_word(p->type, k));
        for (int v = 0; (word = dm_shop_value_word(p->type, k, v)); v++)
            if (p->values[k] >> v & 1)
                add(s, " [%s]", word);
    }
    add(s, "\n[description] [features] [buy now] [< prev] [back to search]");
}

static void show(dm_shop *s)
{
    if (s->page == SEARCH)
        add(s, "search page");
    else if (s->page == RESULTS)
        add_results(s);
    else
        add_item(s);
}

static void add_task(dm_shop *s)
{
    const dm_shop_goal *g = &s->goal;
    add(s, "find a ");
    add_attributes(s, g->attributes, " ");
    add(s, " %s", dm_shop_type_word(g->type));
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        add(s, ", %s %s", dm_shop_option_word(g->type, k), dm_shop_value_word(g->type, k, g->value[k]));
    add(s, ", price below %d dollars", g->limit);
}

/* ---- actions ---- */

static int on_page(const dm_shop *s, size_t i)
{
    return i >= s->first && i < s->first + PAGE && i < s->results;
}

static void go_to_search(dm_shop *s)
{
    s->page = SEARCH;
    show(s);
}

static void search(dm_shop *s, const char *words)
{
    s->results = dm_shop_search(s->product, s->products, dm_shop_query_of(words), s->result);
    s->first = 0;
    if (s->results > 0)
        s->page = RESULTS;
    else
        add(s, "no products found. ");
    show(s);
}

/* Each click function: whether there is such a thing on the page. */
static int click_result(dm_shop *s, const char *thing)
{
    if (strcmp(thing, "next") == 0 && s->first + PAGE < s->results)
        s->first += PAGE;
    else if (strcmp(thing, "prev") == 0 && s->first > 0)
        s->first -= PAGE;
    else {
        char id[8];
        size_t i = s->first;
        for (; on_page(s, i); i++) {
            snprintf(id, sizeof id, "b%d", s->product[s->result[i]].id);
            if (strcmp(thing, id) == 0)
                break;
        }
        if (!on_page(s, i))
            return 0;
        s->page = ITEM;
        s->item = s->result[i];
        s->opened[s->item] = 1;
        for (int k = 0; k < DM_SHOP_OPTIONS; k++)
            s->chosen[k] = -1;
    }
    show(s);
    return 1;
}

static int click_option(dm_shop *s, const char *thing)
{
    const dm_shop_product *p = &s->product[s->item];
    const char *word;
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        for (int v = 0; (word = dm_shop_value_word(p->type, k, v)); v++)
            if ((p->values[k] >> v & 1) && strcmp(thing, word) == 0) {
                s->chosen[k] = v;
                add(s, "%s is chosen", word);
                return 1;
            }
    return 0;
}

static int click_item(dm_shop *s, const char *thing)
{
    const dm_shop_product *p = &s->product[s->item];
    if (strcmp(thing, "description") == 0) {
        add(s, "description: this %s is %s", dm_shop_type_word(p->type), dm_shop_category_word(p->type));
    } else if (strcmp(thing, "features") == 0) {
        add(s, "features: ");
        add_attributes(s, p->attributes, ", ");
        s->read_features[s->item] = 1;
    } else if (strcmp(thing, "buy now") == 0) {
        add(s, "you bought B%d", p->id);
        s->score = dm_shop_reward(&s->goal, p, s->chosen);
        s->done = 1;
    } else if (strcmp(thing, "< prev") == 0) {
        s->page = RESULTS;
        show(s);
    } else {
        return click_option(s, thing);
    }
    return 1;
}

static int click(dm_shop *s, const char *thing)
{
    if (s->page == SEARCH)
        return 0;
    if (strcmp(thing, "back to search") == 0) {
        go_to_search(s);
        return 1;
    }
    return s->page == RESULTS ? click_result(s, thing) : click_item(s, thing);
}

/* "NAME[ words ]" in `a`, which is changed: returns the words, NULL if it has another form. */
static char *argument(char *a, const char *name)
{
    const size_t prefix = strlen(name), size = strlen(a);
    if (size < prefix + 2 || memcmp(a, name, prefix) != 0 || a[prefix] != '[' || a[size - 1] != ']')
        return NULL;
    char *first = a + prefix + 1, *end = a + size - 1;
    while (first < end && *first == ' ')
        first++;
    while (end > first && end[-1] == ' ')
        end--;
    *end = 0;
    return first;
}

static void act(dm_shop *s, const char *action)
{
    char a[ACTION];
    size_t size = 0;
    action += strspn(action, " ");
    for (; action[size] && size + 1 < ACTION; size++)
        a[size] = (char)(action[size] >= 'A' && action[size] <= 'Z' ? action[size] - 'A' + 'a' : action[size]);
    const int whole = action[size] == 0;
    while (size > 0 && a[size - 1] == ' ')
        size--;
    a[size] = 0;

    const char *words = whole ? argument(a, "search") : NULL, *thing = whole ? argument(a, "click") : NULL;
    if (!words && !thing)
        add(s, "invalid action: say search[words] or click[thing]");
    else if (words && s->page != SEARCH)
        add(s, "invalid action: search only on the search page");
    else if (words)
        search(s, words);
    else if (!click(s, thing))
        add(s, "invalid action: no such thing to click on this page");
}

/* ---- the expert ---- */

/* Known to be wrong by what the agent has seen: title and price, options once it was opened, features once read. */
static int rejected(const dm_shop *s, int item)
{
    const dm_shop_product *p = &s->product[item];
    if (p->type != s->goal.type || p->price >= s->goal.limit)
        return 1;
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        if (s->opened[item] && !(p->values[k] >> s->goal.value[k] & 1))
            return 1;
    return s->read_features[item] && (s->goal.attributes & ~p->attributes) != 0;
}

static void print_search(char out[ACTION], uint32_t attributes, const char *first, int type)
{
    size_t used = (size_t)snprintf(out, ACTION, "search[");
    const char *separator = "";
    if (first) {
        used += (size_t)snprintf(out + used, ACTION - used, "%s", first);
        separator = " ";
    }
    for (int i = 0; i < DM_SHOP_ATTRIBUTES; i++)
        if (attributes >> i & 1) {
            used += (size_t)snprintf(out + used, ACTION - used, "%s%s", separator, dm_shop_attribute_word(i));
            separator = " ";
        }
    if (type >= 0)
        used += (size_t)snprintf(out + used, ACTION - used, "%s%s", separator, dm_shop_type_word(type));
    snprintf(out + used, ACTION - used, "]");
}

static void print_click(char out[ACTION], const char *thing)
{
    snprintf(out, ACTION, "click[%s]", thing);
}

static void print_click_product(char out[ACTION], int id)
{
    snprintf(out, ACTION, "click[B%d]", id);
}

/* The first product on the page that may fit; otherwise the next page, as long as this one ends with the type that is
 * wanted: when it was searched for, all others come after it. */
static void expert_results(dm_shop *s)
{
    int last = 0;
    for (size_t i = s->first; on_page(s, i); i++) {
        last = s->result[i];
        if (!rejected(s, last)) {
            print_click_product(s->expert, s->product[last].id);
            return;
        }
    }
    const int more = s->first + PAGE < s->results && s->product[last].type == s->goal.type;
    print_click(s->expert, more ? "next" : "back to search");
}

static void expert_item(dm_shop *s)
{
    const dm_shop_product *p = &s->product[s->item];
    if (s->turn + 1 == TURNS) { /* better than nothing */
        print_click(s->expert, "buy now");
        return;
    }
    if (rejected(s, s->item)) {
        print_click(s->expert, "< prev");
        return;
    }
    if (!s->read_features[s->item] && (s->goal.attributes & ~p->title) != 0) {
        print_click(s->expert, "features");
        return;
    }
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        if (s->chosen[k] != s->goal.value[k]) {
            print_click(s->expert, dm_shop_value_word(p->type, k, s->goal.value[k]));
            return;
        }
    print_click(s->expert, "buy now");
}

static const char *shop_expert(dm_env *env)
{
    dm_shop *s = (dm_shop *)env;
    if (s->done)
        return NULL;
    if (s->page == SEARCH)
        print_search(s->expert, s->goal.attributes, NULL, s->goal.type);
    else if (s->page == RESULTS)
        expert_results(s);
    else
        expert_item(s);
    return s->expert;
}

/* ---- what there is to do ---- */

static char *new_action(dm_shop *s)
{
    s->actions[s->n_actions] = s->action[s->n_actions];
    return s->action[s->n_actions++];
}

/* The words of the task and worse choices of words: any text may be searched for. */
static void list_searches(dm_shop *s)
{
    const dm_shop_goal *g = &s->goal;
    const uint32_t one = g->attributes & (~g->attributes + 1);
    print_search(new_action(s), g->attributes, NULL, g->type);
    print_search(new_action(s), 0, NULL, g->type);
    print_search(new_action(s), g->attributes, NULL, -1);
    print_search(new_action(s), one, NULL, g->type);
    print_search(new_action(s), one, NULL, -1);
    print_search(new_action(s), 0, dm_shop_value_word(g->type, 0, g->value[0]), g->type);
}

static void list_item(dm_shop *s)
{
    static const char *const buttons[] = {"description", "features", "buy now", "< prev"};
    const dm_shop_product *p = &s->product[s->item];
    const char *word;
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        for (int v = 0; (word = dm_shop_value_word(p->type, k, v)); v++)
            if (p->values[k] >> v & 1)
                print_click(new_action(s), word);
    for (size_t i = 0; i < sizeof buttons / sizeof *buttons; i++)
        print_click(new_action(s), buttons[i]);
}

static void list_results(dm_shop *s)
{
    for (size_t i = s->first; on_page(s, i); i++)
        print_click_product(new_action(s), s->product[s->result[i]].id);
    if (s->first + PAGE < s->results)
        print_click(new_action(s), "next");
    if (s->first > 0)
        print_click(new_action(s), "prev");
}

static size_t shop_admissible(dm_env *env, const char *const **actions)
{
    dm_shop *s = (dm_shop *)env;
    s->n_actions = 0;
    *actions = s->actions;
    if (s->done)
        return 0;
    if (s->page == SEARCH) {
        list_searches(s);
        return s->n_actions;
    }
    if (s->page == RESULTS)
        list_results(s);
    else
        list_item(s);
    print_click(new_action(s), "back to search");
    return s->n_actions;
}

/* ---- the class ---- */

static void observe(const dm_shop *s, dm_observation *o)
{
    o->text = s->text;
    o->score = s->score;
    o->done = s->done;
}

static dm_status shop_open(dm_env *env, const char *arguments, dm_error *err)
{
    if (arguments)
        return dm_fail(err, DM_ERR_ARGUMENT, "environment 'shop' takes no arguments, not '%s'", arguments);
    env->instruction = instruction;
    env->tasks[DM_ENV_SPLIT_TRAIN] = DM_SHOP_TASKS_TRAIN;
    env->tasks[DM_ENV_SPLIT_SEEN] = DM_SHOP_TASKS_SEEN;
    env->tasks[DM_ENV_SPLIT_UNSEEN] = DM_SHOP_TASKS_UNSEEN;
    env->max_turns = TURNS;
    return DM_OK;
}

static dm_status shop_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o,
                            dm_error *err)
{
    (void)err;
    dm_shop *s = (dm_shop *)env;
    const dm_env class = s->env;

    memset(s, 0, sizeof *s);
    s->env = class;
    s->products = dm_shop_catalogue(split, task, seed, &s->goal, s->product);
    add_task(s);
    add(s, "\n\nObservation: ");
    show(s);
    observe(s, o);
    return DM_OK;
}

static dm_status shop_step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    (void)err;
    dm_shop *s = (dm_shop *)env;
    s->text[0] = 0;
    act(s, action);
    s->turn++;
    if (!s->done && s->turn == TURNS) {
        s->done = 1;
        add(s, "\nno turns left");
    }
    observe(s, o);
    return DM_OK;
}

const dm_env_class dm_env_shop = {
    .name = "shop",
    .summary = "buy the product that is asked for; reward: share of type, attributes, options and price that match",
    .size = sizeof(dm_shop),
    .open = shop_open,
    .reset = shop_reset,
    .step = shop_step,
    .expert = shop_expert,
    .admissible = shop_admissible,
};
