#include "agent/env/shop/shop.h"

#include <string.h>

#include "core/numbers/philox.h"

enum {
    COTTON,
    SOFT,
    WARM,
    LIGHT,
    WASHABLE,
    STRIPED,
    SLIM,
    LINED,
    THICK,
    QUILTED,
    CERAMIC,
    GLAZED,
    STACKING,
    ROUND,
    STURDY,
    BRIGHT,
    CORDLESS,
    FOLDING,
    WOODEN,
    MODERN,
    DIMMING
};

static const char *const attribute_words[DM_SHOP_ATTRIBUTES] = {
    [COTTON] = "cotton",     [SOFT] = "soft",       [WARM] = "warm",       [LIGHT] = "light",
    [WASHABLE] = "washable", [STRIPED] = "striped", [SLIM] = "slim",       [LINED] = "lined",
    [THICK] = "thick",       [QUILTED] = "quilted", [CERAMIC] = "ceramic", [GLAZED] = "glazed",
    [STACKING] = "stacking", [ROUND] = "round",     [STURDY] = "sturdy",   [BRIGHT] = "bright",
    [CORDLESS] = "cordless", [FOLDING] = "folding", [WOODEN] = "wooden",   [MODERN] = "modern",
    [DIMMING] = "dimming",
};

static const char *const colors[DM_SHOP_VALUES] = {"red", "blue", "green", "black", "white", "yellow"};

#define TYPES_EACH 3 /* of a category */
#define POOL 8       /* attributes of a category */
#define SECONDS 3    /* values of the second option */
#define ATTRIBUTES 4 /* of a product */

typedef struct category {
    const char *name;
    const char *types[TYPES_EACH];
    const char *option; /* the second one; the first is the color */
    const char *values[SECONDS];
    int attributes[POOL];
} category;

static const category categories[DM_SHOP_CATEGORIES] = {
    {"clothing",
     {"shirt", "jacket", "dress"},
     "size",
     {"small", "medium", "large"},
     {COTTON, SOFT, WARM, LIGHT, WASHABLE, STRIPED, SLIM, LINED}},
    {"bedding",
     {"blanket", "pillow", "sheet"},
     "size",
     {"twin", "queen", "king"},
     {COTTON, SOFT, WARM, LIGHT, WASHABLE, STRIPED, THICK, QUILTED}},
    {"tableware",
     {"cup", "bowl", "plate"},
     "count",
     {"two", "four", "six"},
     {CERAMIC, GLAZED, STACKING, ROUND, STURDY, LIGHT, WASHABLE, STRIPED}},
    {"lighting",
     {"lamp", "lantern", "candle"},
     "power",
     {"battery", "solar", "wired"},
     {BRIGHT, CORDLESS, FOLDING, WOODEN, MODERN, DIMMING, ROUND, STURDY}},
};

static int category_of(int type)
{
    return type / TYPES_EACH;
}

const char *dm_shop_type_word(int type)
{
    return categories[category_of(type)].types[type % TYPES_EACH];
}

const char *dm_shop_attribute_word(int attribute)
{
    return attribute_words[attribute];
}

const char *dm_shop_category_word(int type)
{
    return categories[category_of(type)].name;
}

const char *dm_shop_option_word(int type, int option)
{
    return option == 0 ? "color" : categories[category_of(type)].option;
}

static int values_of(int option)
{
    return option == 0 ? DM_SHOP_VALUES : SECONDS;
}

const char *dm_shop_value_word(int type, int option, int value)
{
    if (value >= values_of(option))
        return NULL;
    return option == 0 ? colors[value] : categories[category_of(type)].values[value];
}

int dm_shop_bits(uint32_t set)
{
    int n = 0;
    for (; set; set &= set - 1)
        n++;
    return n;
}

static uint32_t bit(int i)
{
    return (uint32_t)1 << i;
}

/* ---- tasks ---- */

/* Another one for each type of a category, so that every attribute is trained with some type. */
uint32_t dm_shop_held_out(int type)
{
    return bit(categories[category_of(type)].attributes[2 * (type % TYPES_EACH) + 1]);
}

/* Attributes that products of the type have in a split: a pair that is held out is in no catalogue of the others. */
static uint32_t pool_of(int type, dm_env_split split)
{
    uint32_t set = 0;
    for (int i = 0; i < POOL; i++)
        set |= bit(categories[category_of(type)].attributes[i]);
    return split == DM_ENV_SPLIT_UNSEEN ? set : set & ~dm_shop_held_out(type);
}

#define PAIRS (POOL * (POOL - 1) / 2)
#define COMBINATIONS (PAIRS * DM_SHOP_VALUES * SECONDS) /* of one type */
#define TRAIN_EACH ((DM_SHOP_TASKS_TRAIN + DM_SHOP_TYPES - 1) / DM_SHOP_TYPES)

/* Task t is of type t mod 12. The combinations of attributes and values of that type, those with its held-out attribute
 * for unseen and those without for the others, stand in one random order that is always the same; train has the first
 * of it, seen the next. */
void dm_shop_goal_of(dm_env_split split, int64_t task, dm_shop_goal *goal)
{
    const int type = (int)(task % DM_SHOP_TYPES);
    const int *attribute = categories[category_of(type)].attributes;
    uint32_t pairs[PAIRS] = {0}, order[COMBINATIONS], n = 0;

    for (int i = 0; i < POOL; i++)
        for (int j = i + 1; j < POOL; j++) {
            const uint32_t pair = bit(attribute[i]) | bit(attribute[j]);
            if (((pair & dm_shop_held_out(type)) != 0) == (split == DM_ENV_SPLIT_UNSEEN))
                pairs[n++] = pair;
        }
    n *= DM_SHOP_VALUES * SECONDS;
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    dm_random_shuffle(order, n, 0, DM_RNG_ENV, UINT64_MAX - (uint64_t)type);

    const uint32_t c = order[task / DM_SHOP_TYPES + (split == DM_ENV_SPLIT_SEEN ? TRAIN_EACH : 0)];
    goal->type = type;
    goal->value[0] = (int)(c % DM_SHOP_VALUES);
    goal->value[1] = (int)(c / DM_SHOP_VALUES % SECONDS);
    goal->attributes = pairs[c / (DM_SHOP_VALUES * SECONDS)];
    goal->limit = 0;
}

/* ---- catalogue ---- */

typedef struct dice {
    uint64_t seed, stream, counter;
} dice;

static int roll(dice *d, int n)
{
    return (int)dm_random_below((uint32_t)n, d->seed, DM_RNG_ENV, d->stream, &d->counter);
}

/* `n` random elements of a set that has as many. */
static uint32_t pick(dice *d, uint32_t set, int n)
{
    uint32_t picked = 0;
    for (; n > 0; n--) {
        uint32_t rest = set & ~picked;
        for (int skip = roll(d, dm_shop_bits(rest)); skip > 0; skip--)
            rest &= rest - 1;
        picked |= rest & (~rest + 1);
    }
    return picked;
}

typedef enum role {
    FITS,
    TOO_EXPENSIVE, /* every other one lacks a value too */
    NO_OPTION,     /* lacks one value, which the item page shows */
    NO_ATTRIBUTE,  /* lacks one attribute, which only the features page shows */
    OTHER_TYPE,    /* of the same category */
    OTHER_CATEGORY
} role;

/* Prices end in 2, 5 or 8 and limits in 0: the first digits decide. */
static int draw_price(dice *d, int limit, int fits)
{
    static const int last[] = {2, 5, 8};
    const int tens = limit / 10;
    const int first = fits ? 1 + roll(d, tens - 1) : tens + roll(d, 6 - tens);
    return 10 * first + last[roll(d, 3)];
}

/* `shown`: how many of the goal's attributes the title shows, at most. */
static dm_shop_product draw_product(dice *d, const dm_shop_goal *goal, dm_env_split split, role r, int shown)
{
    dm_shop_product p = {.type = goal->type};
    uint32_t wanted = goal->attributes;

    if (r == OTHER_TYPE)
        p.type = category_of(p.type) * TYPES_EACH + (p.type % TYPES_EACH + 1 + roll(d, TYPES_EACH - 1)) % TYPES_EACH;
    else if (r == OTHER_CATEGORY)
        p.type = (category_of(p.type) * TYPES_EACH + TYPES_EACH + roll(d, DM_SHOP_TYPES - TYPES_EACH)) % DM_SHOP_TYPES;

    const uint32_t pool = pool_of(p.type, split);
    if (r == NO_ATTRIBUTE)
        wanted = pick(d, wanted, 1);
    else if (r == OTHER_CATEGORY)
        wanted = 0;
    wanted &= pool;
    const int has = dm_shop_bits(wanted);
    if (shown > has)
        shown = has;
    const uint32_t others = pick(d, pool & ~goal->attributes, ATTRIBUTES - has);
    p.attributes = wanted | others;
    p.title = pick(d, wanted, shown);
    p.title |= pick(d, others, DM_SHOP_SHOWN - shown);

    const int lacks = r == NO_OPTION || (r == TOO_EXPENSIVE && roll(d, 2));
    const int lacking = lacks ? roll(d, DM_SHOP_OPTIONS) : DM_SHOP_OPTIONS;
    for (int k = 0; k < DM_SHOP_OPTIONS; k++) {
        const int n = k == 0 ? 3 : 2;
        const uint32_t all = bit(values_of(k)) - 1, value = bit(goal->value[k]);
        if (r >= OTHER_TYPE)
            p.values[k] = pick(d, all, n);
        else if (k == lacking)
            p.values[k] = pick(d, all & ~value, n);
        else
            p.values[k] = value | pick(d, all & ~value, n - 1);
    }
    p.price = draw_price(d, goal->limit, r >= OTHER_TYPE ? roll(d, 2) : r != TOO_EXPENSIVE);
    return p;
}

/* The order decides among equal scores, so what comes before the product that fits, and shows no less of the
 * goal's attributes, is ranked before it: up to three that are too expensive, and at most one that looks right and is
 * not, so that the expert needs 10 turns at most. */
size_t dm_shop_catalogue(dm_env_split split, int64_t task, uint64_t seed, dm_shop_goal *goal,
                         dm_shop_product product[DM_SHOP_PRODUCTS])
{
    static const int expensive_of[20] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3};
    static const int shown_of[20] = {2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};
    dice d = {seed, (uint64_t)split << 32 | (uint64_t)task, 0};
    size_t n = 0;

    dm_shop_goal_of(split, task, goal);
    goal->limit = 20 + 10 * roll(&d, 4);

    const int shown = shown_of[roll(&d, 20)], expensive = expensive_of[roll(&d, 20)];
    const int chance = roll(&d, 20);
    const int mistake = chance < 9; /* one among the first that looks right and is not */
    const int place = roll(&d, expensive + 1);
    for (int i = 0; i < expensive + mistake; i++) {
        if (!mistake || i != place)
            product[n++] = draw_product(&d, goal, split, TOO_EXPENSIVE, DM_SHOP_SHOWN);
        else if (shown < DM_SHOP_SHOWN && chance < 6)
            product[n++] = draw_product(&d, goal, split, NO_ATTRIBUTE, 1);
        else
            product[n++] = draw_product(&d, goal, split, NO_OPTION, shown + roll(&d, DM_SHOP_SHOWN - shown + 1));
    }
    product[n++] = draw_product(&d, goal, split, FITS, shown);
    for (int more = 1 + roll(&d, 3); more > 0; more--)
        product[n++] = draw_product(&d, goal, split, (role)roll(&d, NO_ATTRIBUTE + 1), shown);
    for (int more = 2 + roll(&d, 2); more > 0; more--)
        product[n++] = draw_product(&d, goal, split, OTHER_TYPE, DM_SHOP_SHOWN);
    for (const size_t size = DM_SHOP_PRODUCTS - (size_t)roll(&d, 5); n < size;)
        product[n++] = draw_product(&d, goal, split, OTHER_CATEGORY, 0);

    uint32_t ids = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t id = pick(&d, ~ids & (bit(DM_SHOP_IDS) - 1), 1);
        ids |= id;
        product[i].id = dm_shop_bits(id - 1) + 1;
    }
    return n;
}

/* ---- search and reward ---- */

dm_shop_query dm_shop_query_of(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    dm_shop_query q = {0, 0};

    for (size_t size; *(text += strcspn(text, letters)); text += size) {
        size = strspn(text, letters);
        for (int i = 0; i < DM_SHOP_TYPES; i++)
            if (strlen(dm_shop_type_word(i)) == size && memcmp(dm_shop_type_word(i), text, size) == 0)
                q.types |= bit(i);
        for (int i = 0; i < DM_SHOP_ATTRIBUTES; i++)
            if (strlen(attribute_words[i]) == size && memcmp(attribute_words[i], text, size) == 0)
                q.attributes |= bit(i);
    }
    return q;
}

size_t dm_shop_search(const dm_shop_product *product, size_t n, dm_shop_query query, int result[DM_SHOP_PRODUCTS])
{
    int score[DM_SHOP_PRODUCTS];
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        const int s =
            3 * ((query.types & bit(product[i].type)) != 0) + dm_shop_bits(query.attributes & product[i].title);
        if (s == 0)
            continue;
        size_t at = found++;
        for (; at > 0 && score[at - 1] < s; at--) {
            score[at] = score[at - 1];
            result[at] = result[at - 1];
        }
        score[at] = s;
        result[at] = (int)i;
    }
    return found;
}

double dm_shop_reward(const dm_shop_goal *goal, const dm_shop_product *product, const int chosen[DM_SHOP_OPTIONS])
{
    if (category_of(product->type) != category_of(goal->type))
        return 0;
    int matched = dm_shop_bits(product->attributes & goal->attributes) + (product->price < goal->limit);
    for (int k = 0; k < DM_SHOP_OPTIONS; k++)
        matched += chosen[k] == goal->value[k];
    const double share = (double)matched / (dm_shop_bits(goal->attributes) + DM_SHOP_OPTIONS + 1);
    return product->type == goal->type ? share : 0.5 * share;
}
