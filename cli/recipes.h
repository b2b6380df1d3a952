/* The recipes of agent/experiment/recipes/, which the Makefile turns into lines of text. */
#ifndef DM_CLI_RECIPES_H
#define DM_CLI_RECIPES_H

typedef struct cli_recipe {
    const char *name;        /* NULL: the end */
    const char *const *line; /* terminated by NULL */
} cli_recipe;

extern const cli_recipe cli_recipes[];

#endif
