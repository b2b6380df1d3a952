/* The training loop allocates nothing: between the first step and the last no call of malloc, calloc, realloc, their
 * aligned kin or mmap is made, by the library or by libc for it.
 *
 * This program is its own allocator: a block is a power of two from a large static array, kept in lists by size. */
#define _DEFAULT_SOURCE /* syscall, MAP_ANONYMOUS */

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

static volatile long calls;    /* of this allocator and mmap */
static volatile size_t newest; /* size asked for, to tell what it was */

#if !CK_SANITIZED

#define POOL ((size_t)96 << 20)
#define ALIGN 64

/* Visible to libc, too; not inlined, or the compiler thinks that it knows what free() may touch. */
#define REPLACES __attribute__((visibility("default"), noinline))

REPLACES void *malloc(size_t size);
REPLACES void free(void *p);
REPLACES void *calloc(size_t n, size_t size);
REPLACES void *realloc(void *p, size_t size);
REPLACES void *aligned_alloc(size_t alignment, size_t size);
REPLACES void *memalign(size_t alignment, size_t size);
REPLACES int posix_memalign(void **out, size_t alignment, size_t size);

typedef struct block { /* ALIGN bytes before what is handed out */
    struct block *next;
    unsigned size_class;
} block;

static _Alignas(ALIGN) unsigned char pool[POOL];
static size_t used;
static block *lists[48];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *take(size_t size)
{
    unsigned c = 6;
    block *b;

    calls++;
    newest = size;
    while (c < 40 && ((size_t)1 << c) < size)
        c++;
    pthread_mutex_lock(&lock);
    b = lists[c];
    if (b) {
        lists[c] = b->next;
    } else if (((size_t)1 << c) + ALIGN <= POOL - used) {
        b = (block *)(void *)(pool + used);
        used += ((size_t)1 << c) + ALIGN;
        b->size_class = c;
    }
    pthread_mutex_unlock(&lock);
    if (!b)
        errno = ENOMEM;
    return b ? (unsigned char *)b + ALIGN : NULL;
}

static block *block_of(void *p)
{
    return (block *)(void *)((unsigned char *)p - ALIGN);
}

void *malloc(size_t size)
{
    return take(size);
}

void free(void *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&lock);
    block *b = block_of(p);
    b->next = lists[b->size_class];
    lists[b->size_class] = b;
    pthread_mutex_unlock(&lock);
}

void *calloc(size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *p = take(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *realloc(void *p, size_t size)
{
    void *fresh = take(size);
    if (fresh && p) {
        const size_t had = (size_t)1 << block_of(p)->size_class;
        memcpy(fresh, p, had < size ? had : size);
        free(p);
    }
    return fresh;
}

static void *take_aligned(size_t alignment, size_t size)
{
    if (alignment <= ALIGN)
        return take(size);
    /* Whole pages and the like: never given back. */
    pthread_mutex_lock(&lock);
    calls++;
    newest = size;
    const size_t begin = (used + ALIGN + alignment - 1) / alignment * alignment;
    unsigned char *p = begin <= POOL && size <= POOL - begin ? pool + begin : NULL;
    if (p) {
        used = (begin + size + ALIGN - 1) / ALIGN * ALIGN;
        block_of(p)->size_class = 47; /* a list that nothing is taken from */
    }
    pthread_mutex_unlock(&lock);
    return p;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return take_aligned(alignment, size);
}

void *memalign(size_t alignment, size_t size)
{
    return take_aligned(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = take_aligned(alignment, size);
    return *out ? 0 : ENOMEM;
}

/* Only the library's own calls come here, libc has another way to the system for its threads' stacks. */
void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    calls++;
    newest = size;
#ifdef SYS_mmap2
    return (void *)syscall(SYS_mmap2, address, size, protection, flags, fd, offset / 4096);
#else
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
#endif
}

#endif

typedef struct watch {
    long at_first; /* calls when the first step was done */
    long steps, evaluations;
    long seen; /* calls at the last event */
} watch;

/* The first step may make room for its line in metrics.jsonl; from there on nothing. */
static int count(void *context, const dmpo_event *event)
{
    watch *w = context;
    const long now = calls;
    if (w->steps > 0 && now != w->seen && (event->kind == DMPO_EVENT_STEP || event->kind == DMPO_EVENT_EVAL))
        CK_MSG(0, "%ld allocations before %s %lld, the last of %zu bytes", now - w->seen,
               event->kind == DMPO_EVENT_STEP ? "step" : "the evaluation after step", (long long)event->metrics->step,
               (size_t)newest);
    if (event->kind == DMPO_EVENT_STEP && w->steps++ == 0)
        w->at_first = now;
    w->evaluations += event->kind == DMPO_EVENT_EVAL;
    w->seen = calls; /* what a failed check itself took does not count */
    return 0;
}

static void check_loop(dm_objective_kind objective, dm_loss_link link, const char *reference2, int recompute)
{
    watch w = {0};
    dm_train_options o;
    dm_train_defaults(&o, objective);
    o.link = link;
    o.recompute = recompute;
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("eval.jsonl");
    o.output = at("output");
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 12;
    o.eval_every = 4;
    o.reference2 = reference2;
    o.tensorboard = reference2 != NULL;
    const outcome got = train(&o, NULL, 2, count, &w);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    CK_MSG(w.steps == 12 && w.evaluations == 4, "%ld steps, %ld evaluations", w.steps, w.evaluations);
    CK_MSG(w.seen == w.at_first, "%ld allocations after the first step", w.seen - w.at_first);
    CK_MSG(w.at_first > 20, "only %ld allocations before it: they are not counted", w.at_first);
    dm_dir_remove(o.output, NULL);
    calls = 0;
}

int main(void)
{
    if (CK_SANITIZED) {
        ck_skip("a sanitizer brings an allocator of its own");
        return ck_done("train_alloc");
    }
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 11, 4, 2, VOCAB, -1);
    make_pairs(at("eval.jsonl"), 2, 5, 4, 2, VOCAB, -1);
    for (int recompute = 0; recompute < 2; recompute++) {
        check_loop(DM_OBJECTIVE_DMPO, DM_LINK_SIGMOID, NULL, recompute);
        check_loop(DM_OBJECTIVE_DPO, DM_LINK_SIGMOID, at("model"), recompute);
        check_loop(DM_OBJECTIVE_KTO, DM_LINK_SIGMOID, NULL, recompute);
        check_loop(DM_OBJECTIVE_DPO, DM_LINK_KTO_PAIR, NULL, recompute);
        check_loop(DM_OBJECTIVE_SFT, DM_LINK_SIGMOID, NULL, recompute);
    }
    work_close();
    return ck_done("train_alloc");
}
