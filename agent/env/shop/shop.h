/* The world of environment `shop`: words, tasks, products, search and reward. agent/env/shop/shop.c puts pages over it.
 *
 * A product has a type ("shirt"), four attributes of which two stand in its title, a price of two digits, and values of
 * two options (color; size, count or power). A goal names a type, two attributes, a value of each option and what the
 * price has to be below. Sets of attributes and values are bit masks. */
#ifndef DM_AGENT_ENV_SHOP_SHOP_H
#define DM_AGENT_ENV_SHOP_SHOP_H

#include <stddef.h>
#include <stdint.h>

#include "agent/env/env.h"

enum {
    DM_SHOP_CATEGORIES = 4,
    DM_SHOP_TYPES = 12, /* three a category */
    DM_SHOP_ATTRIBUTES = 21,
    DM_SHOP_OPTIONS = 2,
    DM_SHOP_VALUES = 6, /* of an option, at most */
    DM_SHOP_SHOWN = 2,  /* attributes in a title, and of a goal */
    DM_SHOP_PRODUCTS = 16,
    DM_SHOP_IDS = 20, /* B1 .. B20 */
    DM_SHOP_TASKS_TRAIN = 2000,
    DM_SHOP_TASKS_SEEN = 200,
    DM_SHOP_TASKS_UNSEEN = 200
};

typedef struct dm_shop_product {
    int id, type, price;
    uint32_t attributes;              /* all four, as on the features page */
    uint32_t title;                   /* the two in the title, a subset */
    uint32_t values[DM_SHOP_OPTIONS]; /* that can be chosen */
} dm_shop_product;

typedef struct dm_shop_goal {
    int type;
    uint32_t attributes;
    int value[DM_SHOP_OPTIONS];
    int limit; /* the price is below */
} dm_shop_goal;

typedef struct dm_shop_query {
    uint32_t types, attributes;
} dm_shop_query;

/* ---- words ---- */
const char *dm_shop_type_word(int type);
const char *dm_shop_attribute_word(int attribute);
const char *dm_shop_category_word(int type);                     /* of a type */
const char *dm_shop_option_word(int type, int option);           /* "color", or the second option of the type */
const char *dm_shop_value_word(int type, int option, int value); /* NULL after the last one */
int dm_shop_bits(uint32_t set);                                  /* elements of a set */
uint32_t dm_shop_held_out(int type);                             /* the attribute that only unseen has with it */

/* ---- tasks and products ---- */
/* The parameters of a task but the limit, which is the seed's: they depend on nothing else, so that no seed lets two
 * splits overlap. */
void dm_shop_goal_of(dm_env_split split, int64_t task, dm_shop_goal *goal);
/* Draws goal->limit and the catalogue; returns its size. */
size_t dm_shop_catalogue(dm_env_split split, int64_t task, uint64_t seed, dm_shop_goal *goal,
                         dm_shop_product product[DM_SHOP_PRODUCTS]);

/* The types and attributes among the words; all others are ignored. text is lower case. */
dm_shop_query dm_shop_query_of(const char *text);
/* Products with at least one word of the query in the title: 3 points for the type, 1 for each attribute; among equals
 * the catalogue's order. result[i] is an index of product; returns how many. */
size_t dm_shop_search(const dm_shop_product *product, size_t n, dm_shop_query query, int result[DM_SHOP_PRODUCTS]);

/* What buying is worth; chosen[k] is the value of option k that was clicked, -1 for none. After WebShop (Yao et al.,
 * arXiv 2207.01206, section 3.1 "Reward"; its code is get_reward in web_agent_site/engine/goal.py):
 *
 *     r = r_type * (matched attributes + matched options + [price fits]) / (attributes + options + 1)
 *
 * over the goal's attributes and options. WebShop's r_type is 1, 0.5, 0.1 or 0 by the nouns that the two long titles
 * share and by category; a title here has one noun, so that it is 1 for the type, 0.5 for another type of the same
 * category, 0 for any other. The price fits when it is below the limit, as the task says. */
double dm_shop_reward(const dm_shop_goal *goal, const dm_shop_product *product, const int chosen[DM_SHOP_OPTIONS]);

extern const dm_env_class dm_env_shop;

#endif
