/* The compression function with the SHA extensions of x86 (Intel SDM, SHA256RNDS2, SHA256MSG1, SHA256MSG2): four times
 * as fast, for the gigabytes of a checkpoint. */
#include "core/sha256_blocks.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

bool dm_sha256_x86_usable(void)
{
    static atomic_int known; /* 0: not detected yet; CPUID is slow in a virtual machine */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);

    if (answer == 0) {
        unsigned a, b, c, d;
        const bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
        const bool sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1) && (c >> 9 & 1); /* and SSSE3 */
        answer = sha && sse41 ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}

__attribute__((target("sha,sse4.1,ssse3"))) void dm_sha256_blocks_x86(uint32_t state[8], const unsigned char *p,
                                                                      size_t blocks)
{
    const __m128i bytes = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203); /* big-endian words */
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);

    for (; blocks > 0; blocks--, p += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4]; /* the last 16 words of the message schedule */

        for (int i = 0; i < 16; i++) { /* four rounds each */
            const int now = i % 4, next = (i + 1) % 4, last = (i + 3) % 4;
            if (i < 4)
                w[now] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), bytes);
            else
                w[now] = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_sha256msg1_epu32(w[now], w[next]), _mm_alignr_epi8(w[last], w[(i + 2) % 4], 4)),
                    w[last]);
            const __m128i sum =
                _mm_add_epi32(w[now], _mm_loadu_si128((const __m128i *)(const void *)(dm_sha256_constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

#else

bool dm_sha256_x86_usable(void)
{
    return false;
}

void dm_sha256_blocks_x86(uint32_t state[8], const unsigned char *p, size_t blocks)
{
    (void)state, (void)p, (void)blocks; /* never called */
}

#endif
