/* A model of AMX's tiles in C, by which the driver of simd/kernels/gemm/amx.c runs on any machine (Intel, Software
 * Developer's Manual, volume 2, TDPBF16PS). The file is compiled a second time with these in place of instructions. */
#ifndef DM_TESTS_SUPPORT_AMX_MODEL_H
#define DM_TESTS_SUPPORT_AMX_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "simd/kernels/gemm/gemm_kernel.h"

/* The kernel by the model. pack: a level's packer. */
void amx_model_init(dm_gemm_kernel *g, dm_gemm_pack_fn pack);

/* One step of a chain: a * b + c rounded once to f32's 24 bits as if exponents had no end; what is then below 2^-126 is
 * a zero of its sign. a, b: bf16 numbers; none subnormal. */
float amx_model_fma(float a, float b, float c);

/* x rounded to bf16, to nearest even, and a zero where that is subnormal. */
float amx_model_round(float x);

/* The bf16 product of one element of C, [k] of each operand `rs` and `cs` apart. */
float amx_model_chain(float c, size_t k, const float *a, size_t rs, const float *b, size_t cs);

/* As the instructions; a tile that is used while this thread has not configured tiles ends the process. */
void amx_model_configure(const void *config);
void amx_model_release(void);
void amx_model_zero(int tile);
void amx_model_load(int tile, const void *from, size_t stride);
void amx_model_store(int tile, void *to, size_t stride);
void amx_model_product(int c, int a, int b);

/* Whether this thread has tiles that are configured. */
bool amx_model_is_configured(void);

#define AMX_INIT amx_model_init
#define AMX_CONFIGURE amx_model_configure
#define AMX_RELEASE amx_model_release
#define AMX_ZERO amx_model_zero
#define AMX_LOAD amx_model_load
#define AMX_STORE amx_model_store
#define AMX_PRODUCT amx_model_product

#endif
