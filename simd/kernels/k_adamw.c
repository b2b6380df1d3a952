/* One AdamW step on a run of parameters. */
#include "simd/kernels/vec.h"

static void adamw(float *w, float *m, float *v, const float *g, size_t n, const dm_adamw_step *step)
{
    const vf scale = vf_set1(step->scale), decay = vf_set1(step->decay), size = vf_set1(step->step_size);
    const vf beta1 = vf_set1(step->beta1), rest1 = vf_set1(step->one_minus_beta1);
    const vf beta2 = vf_set1(step->beta2), rest2 = vf_set1(step->one_minus_beta2);
    const vf correction = vf_set1(step->inv_sqrt_correction2), eps = vf_set1(step->eps);

    VF_EACH(i, left, n, {
        const vf gs = vf_mul(vf_get(g + i, left), scale);
        const vf m1 = vf_fma(rest1, gs, vf_mul(beta1, vf_get(m + i, left)));
        const vf v1 = vf_fma(rest2, vf_mul(gs, gs), vf_mul(beta2, vf_get(v + i, left)));
        const vf d = vf_fma(vf_sqrt(v1), correction, eps);
        const vf w1 = vf_mul(vf_get(w + i, left), decay);
        vf_put(m + i, m1, left);
        vf_put(v + i, v1, left);
        vf_put(w + i, vf_sub(w1, vf_div(vf_mul(size, m1), d)), left);
    });
}

void DM_K_INIT(adamw)(dm_kernels *k)
{
    k->adamw = adamw;
}
