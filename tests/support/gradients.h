/* For the tests that hold a backward of the engine against finite differences: an array in f32 and f64, the
 * differences, a model with all that trains it.
 *
 * The engine's backward is derived by hand and computes in f32. What it is held against is written a second time in f64
 * (tests/support/reference64.h) and differentiated numerically, (L(x + h) - L(x - h)) / 2h, element by element; so is
 * its forward. A figure is |got - want| / |want| over a tensor (L2). */
#ifndef DM_TESTS_SUPPORT_GRADIENTS_H
#define DM_TESTS_SUPPORT_GRADIENTS_H

#include "model/loss/objective.h"

/* ---- arrays: the same numbers in f32 for the engine and in f64 for the reference ---- */

typedef struct array {
    float *f;
    double *d;
    size_t n;
} array;

float *floats(size_t n);
array random_array(size_t n, double size);
array copy_of(array a);
void release(array a);

/* ---- comparison ---- */

extern const char *where; /* level or model, for messages */

double norm(const double *x, size_t n);

extern double worst; /* relative error so far */

/* floor: what the error counts against when the tensor is smaller (a sum in which nearly all cancels); 0 for none. */
void near(const char *what, const float *got, const double *want, size_t n, double floor, double limit);

/* Something that f64 differentiates: its value, from arrays of its own. */
typedef struct problem problem;
struct problem {
    void (*forward)(problem *p);      /* y from the other arrays */
    double (*loss)(const problem *p); /* NULL: sum of y * dy */
    array x, w, b, dy;
    double *y;
    size_t rows, n, out;
    double eps;
    void *more;
};

double value(problem *p);
double slope(problem *p, double *x);

/* got: the engine's gradient with respect to x, added to base (NULL: written). */
void check_gradient(const char *what, problem *p, array x, const float *got, const array *base, double limit);
problem problem_open(void (*forward)(problem *), size_t rows, size_t n, size_t out, size_t x, size_t w, size_t b);
void problem_close(problem *p);

/* ---- an item, a model and everything that trains it ---- */

/* A pair that shares six tokens, its first turn among them; after them both sides' next turns start at once. */
#define CHOSEN 13
#define REJECTED 11
#define PAIR_VOCAB 11
extern const dm_data_item pair;

typedef struct machine {
    dm_config c;
    dm_param_layout l;
    dm_arena arena;
    dm_network n;
    dm_pack pack;
    dm_objective objective;
    float *dw;
    array w;
} machine;

/* Weights at random; room for the pair above, however it is packed. */
void machine_open(machine *m, const dm_engine *e, const dm_config *c, uint32_t recompute, int keep_logits);
void machine_close(machine *m);

#endif
