#!/bin/sh
# Whether checkasm notices mistakes: breaks the kernels in a copy of the tree, one mistake at a time, and expects
# build/tests/checkasm to fail each time: a rounding too many, a tail that adds zeros, one element read or written too
# far. On x86 with AVX2. Ends with "mutants: N passed, N failed".
#
#     tests/tools/checkasm_mutants.sh [MUTANT...]         CC and MAKE from the environment
set -eu

src=$(cd "$(dirname "$0")/../.." && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/mutants.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
for d in Makefile configure core simd model io agent cli include tests; do
    [ ! -e "$src/$d" ] || cp -Rp "$src/$d" "$work/"
done
mkdir "$work/b"
cd "$work/b"
../configure --enable-debug >/dev/null # the same bits as -O3, and built in a fraction of the time
make="${MAKE:-make} -j${JOBS:-1}"
survived=0 noticed=0

build_and_check() { # build_and_check KERNEL: all of them without a name
    if ! $make tests/checkasm >log 2>&1; then
        cat log
        exit 1
    fi
    status=0
    ./tests/checkasm --rounds 1 --kernel "$1" >result 2>&1 || status=$?
}

# put FROM FILE [SOURCE]: FILE has FROM's text and is compiled again; of a header, in SOURCE only
put() {
    cp "$1" "../$2"
    [ -z "${3-}" ] || { touch -r saved "../$2" && touch "../simd/kernels/$3"; }
}

# mutant NAME KERNEL FILE SED_SCRIPT [SOURCE]: KERNEL, which is in SOURCE when FILE is a header of many, notices it
mutant() {
    # shellcheck disable=SC2086 # a list of words
    if [ -n "$chosen" ] && ! printf '%s\n' $chosen | grep -qx -- "$1"; then return; fi
    cp -p "../$3" saved
    sed "$4" saved >changed
    if cmp -s saved changed; then
        printf '%-22s does not apply any more\n' "$1"
        survived=$((survived + 1))
        return
    fi
    put changed "$3" "${5-}"
    build_and_check "$2"
    if [ "$status" = 0 ]; then
        printf '%-22s SURVIVED\n' "$1"
        survived=$((survived + 1))
    else
        noticed=$((noticed + 1))
        printf '%-22s %s\n' "$1" "$(sed -n 's/^.*checkasm\.c:[0-9]*: \([a-z0-9_]*\): [0-9]* differences.*/\1/p' result | tr '\n' ' ')"
    fi
    put saved "$3" "${5-}"
}

chosen=$*
build_and_check ''
[ "$status" = 0 ] || { cat result; exit 1; }

mutant zero-tail softmax_columns simd/kernels/vec.h 's/return m == VF ? now : vf_sel(vm_first(m), now, before);/return now;/' k_softmax.c
mutant fold-order rmsnorm simd/kernels/vec.h 's/lane\[l\] += lane\[l + w\];/lane[l] = lane[2 * l] + lane[2 * l + 1];/' k_norm.c
mutant reads-past-the-end add simd/kernels/vec.h 's/return m == VF ? vf_load(p) : vf_load_n(p, m);/return vf_load(p);/' k_element.c
mutant writes-past-the-end add simd/kernels/vec.h 's/^    if (m == VF)$/    if (m > 12)/' k_element.c
mutant unfused rmsnorm simd/kernels/vec_avx2.h 's/_mm256_fmadd_ps(a.lo, b.lo, c.lo)/_mm256_add_ps(_mm256_mul_ps(a.lo, b.lo), c.lo)/' k_norm.c
mutant max-of-nan lse_chunk simd/kernels/k_head.c 's/vf_max(vf_get(logits + i, m), top)/vf_max(top, vf_get(logits + i, m))/'
mutant writes-its-input add simd/kernels/k_element.c 's/VF_EACH(i, m, n, vf_put(y + i, vf_add.*/VF_EACH(i, m, n, vf_put((float *)(uintptr_t)(x + i), vf_set1(0.0f), m));/'
mutant exp-scale softmax simd/kernels/vmath.h 's/return vf_mul(vf_mul(p, vf_power_of_two(k1)), vf_power_of_two(k2));/return vf_mul(p, vf_mul(vf_power_of_two(k1), vf_power_of_two(k2)));/' k_softmax.c
mutant rmsnorm-order rmsnorm simd/kernels/k_norm.c 's/vf_mul(vf_mul(vf_get(x + i, m), vinv), vf_get(w + i, m))/vf_mul(vf_get(x + i, m), vf_mul(vinv, vf_get(w + i, m)))/'
mutant rope-inverse rope simd/kernels/k_rope.c 's/inverse ? vf_neg(s0) : s0/s0/'
mutant lse-without-rescale lse_chunk simd/kernels/k_head.c 's/sum = vf_mul(sum, factor);/(void)factor;/'
mutant adamw-square adamw simd/kernels/k_adamw.c 's/vf_fma(rest2, vf_mul(gs, gs), /vf_fma(vf_mul(rest2, gs), gs, /'
mutant bf16-ties to_bf16 simd/kernels/k_convert.c 's/vi_set1(0x7fff)/vi_set1(0x8000)/; s/vi_and(cut, vi_set1(1))/vi_set1(0)/'
mutant f16-overflow all_f16 simd/kernels/vec_scalar.h 's/if (magnitude >= 0x47800000)/if (magnitude >= 0x477fe000)/' k_convert.c
mutant f16-nan-becomes-inf to_f16 simd/kernels/vec_scalar.h 's/return (uint16_t)(sign | 0x7e00);/return (uint16_t)(sign | 0x7c00);/' k_convert.c
mutant gemm-reads-c gemm_micro simd/kernels/gemm/k_gemm.c 's/^    if (first) {$/    if (first \&\& n == GEMM_NR) {/'
mutant gemm-edge gemm_micro simd/kernels/gemm/gemm_avx2.h 's/^    if (n >= 8) {$/    if (n >= 7) {/' gemm/k_gemm.c
mutant gemm-k-step gemm_micro simd/kernels/gemm/k_gemm.c 's/for (; k > 0; k--,/for (k = k > 66 ? 66 : k; k > 0; k--,/'
mutant pack-padding gemm_pack simd/kernels/gemm/k_gemm.c 's/to\[i\] = 0.0f;/to[i] = -0.0f;/'
mutant bf16-mode gemm_bf16 simd/kernels/gemm/gemm_mode.h 's/0x8040u/0x8000u/' gemm/k_gemm_bf16.c
mutant bf16-flush gemm_bf16 simd/kernels/gemm/gemm_mode.h 's/0x8040u/0x0040u/' gemm/k_gemm_bf16.c
mutant bf16-parity gemm_bf16 simd/kernels/gemm/k_gemm_bf16.c 's/s < steps; s += 2,/s < steps - (steps > 30); s += 2,/'
mutant bf16-padding gemm_bf16 simd/kernels/gemm/k_gemm_bf16.c 's/steps < STEP - 1 + from/steps < STEP - 2 + from/'
mutant bf16-chains gemm_bf16 simd/kernels/gemm/k_gemm_bf16.c 's/gv_flush(gv_add(gv_flush(gv_load(at)), both))/gv_flush(gv_add(gv_add(gv_flush(gv_load(at)), gv_load(even + i * GEMM_NR + j * GEMM_VL)), acc[i][j]))/'
mutant bf16-range gemm_bf16 simd/kernels/gemm/k_gemm_bf16.c 's/>= 0x1p-110)/>= 0x1p-140)/'
mutant bf16-tiny gemm_bf16 simd/kernels/gemm/bf16.h 's/<= 0x1p-126f) || r == 0.0f/< 0x1p-126f) || r == 0.0f/' gemm/k_gemm_bf16.c
mutant bf16-scale gemm_bf16 simd/kernels/gemm/bf16.h 's/< 0x1p-62f ?/<= 0x1p-62f ?/' gemm/k_gemm_bf16.c
mutant bf16-round round_bf16 simd/kernels/vec.h 's/vi_add(vi_set1(0x7fff), odd)/vi_set1(0x8000)/' gemm/k_skinny_bf16.c
mutant bf16-skinny skinny_bf16 simd/kernels/gemm/k_skinny_bf16.c 's/chain\[l % 2\]/chain[l \/ 8 % 2]/g'
mutant amx-tile gemm_amx simd/kernels/gemm/amx.c 's/AMX_LOAD(5, a + TILE, 64);/AMX_LOAD(5, a, 64);/'
mutant amx-pairs gemm_amx simd/kernels/gemm/amx.c 's/\[s % 2\] = block/[1 - s % 2] = block/'
mutant amx-round gemm_amx simd/kernels/gemm/amx.c 's/bits + 0x7fff + (bits >> 16 \& 1)/bits + 0x8000/'
mutant gemm-lanes gemm_lanes simd/kernels/gemm/k_triangular.c 's/? p - j \* GEMM_VL : GEMM_VL;/? p - j * GEMM_VL + 1 : GEMM_VL;/'
mutant gemm-rows gemm_rows simd/kernels/gemm/triangular_rows.h 's/(ptrdiff_t)i <= p - late/(ptrdiff_t)i < p - late/' gemm/k_triangular.c
mutant softmax-columns softmax_columns simd/kernels/k_softmax.c 's/seen(vf_add(sum\[j % VF\], e), sum\[j % VF\], old)/vf_add(sum[j % VF], e)/'
mutant weigh weigh simd/kernels/k_weigh.c 's/vf_fma(vf_set1(b\[i\].p\[j\]), \(.*\), acc\[i\]);/vf_add(vf_mul(vf_set1(b[i].p[j]), \1), acc[i]);/'
mutant double-exp double_exp simd/kernels/k_double.c 's/(x - n \* DM_DOUBLE_LN2_HI) - n/(x - n * DM_DOUBLE_LN2_HI) + n/'
mutant double-dots double_dots simd/kernels/k_double.c 's/a\[v\] += magnitude(t)/a[v] += t/'
mutant double-tile double_tile simd/kernels/k_double.c 's/acc\[i\]\[j\] += a\[i\] \* get/acc[i][j] -= a[i] * get/'
mutant geglu-order geglu simd/kernels/k_geglu.c 's/vf_mul(vf_mul(vg, gate_of(c, vf_mul(c, c))), vf_get(u + i, m))/vf_mul(vg, vf_mul(gate_of(c, vf_mul(c, c)), vf_get(u + i, m)))/'
mutant geglu-slope geglu_backward simd/kernels/k_geglu.c 's/vf_set1(DM_GELU_3C3), square/vf_set1(DM_GELU_C3), square/'
mutant geglu-clamp geglu_backward simd/kernels/k_geglu.c 's/return vf_min(vf_set1(DM_GELU_MAX), vf_max(vf_set1(-DM_GELU_MAX), g));/return g;/'
mutant widen-q3-k widen simd/kernels/k_widen.c 's/s\[8 + k % 4\] >> k \/ 4 \* 2 \& 3/s[8 + k % 4] >> k \/ 8 * 2 \& 3/'
mutant widen widen simd/kernels/k_widen.c 's/s\[8 + i\] >> 4 | s\[4 + i\] >> 6 << 4/s[8 + i] >> 4 | s[i] >> 6 << 4/'
mutant skinny-quantised skinny_quantised simd/kernels/k_quantised.c 's/vf_fma(vf_set1(x->a\[i\]\[column\]), value, acc\[i\])/vf_add(vf_mul(vf_set1(x->a[i][column]), value), acc[i])/'
mutant skinny-edge gemm_skinny simd/kernels/gemm/k_skinny.c 's/r\[l\] = l < rows ?/r[l] = l <= rows ?/'
mutant attention-scale attention simd/attention_internal.h 's/(float)(1.0 \/ sqrt((double)a->head_dim));/1.0f \/ sqrtf((float)a->head_dim);/'
mutant attention-window attention simd/attention_internal.h 's/position - s->window + 1;/position - s->window;/'

printf 'mutants: %d passed, %d failed\n' "$noticed" "$survived"
[ "$survived" = 0 ]
