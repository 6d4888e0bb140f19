/* exp, the logistic function and tanh of 16 float32, right to the last two or three bits. They keep
   NaN. */

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
/* The lanes of a vector from the i-th of n numbers on that there are. */
#define MASK(i, n) ((n) - (i) >= 16 ? 0xffff : (1 << ((n) - (i))) - 1)
#define FUNCTION TARGET static inline __attribute__((always_inline)) __m512

FUNCTION number(float x) { return _mm512_set1_ps(x); }

FUNCTION exponential(__m512 x) {
    x = _mm512_min_ps(number(89), _mm512_max_ps(number(-104), x)); /* x second: NaN stays */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, number(1.44269504f)), 8);
    __m512 r = _mm512_fnmadd_ps(n, number(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, number(-2.12194440e-4f), r);
    __m512 y = number(1.9875691500e-4f);
    y = _mm512_fmadd_ps(y, r, number(1.3981999507e-3f));
    y = _mm512_fmadd_ps(y, r, number(8.3334519073e-3f));
    y = _mm512_fmadd_ps(y, r, number(4.1665795894e-2f));
    y = _mm512_fmadd_ps(y, r, number(1.6666665459e-1f));
    y = _mm512_fmadd_ps(y, r, number(5.0000001201e-1f));
    y = _mm512_fmadd_ps(y, _mm512_mul_ps(r, r), _mm512_add_ps(r, number(1)));
    return _mm512_scalef_ps(y, n);
}

FUNCTION logistic(__m512 x) {
    __m512 e = exponential(_mm512_sub_ps(number(0), x));
    return _mm512_div_ps(number(1), _mm512_add_ps(number(1), e));
}

FUNCTION hyperbolic_tangent(__m512 x) {
    __m512 e = exponential(_mm512_add_ps(x, x));
    __m512 far = _mm512_sub_ps(
        number(1), _mm512_div_ps(number(2), _mm512_add_ps(e, number(1))));
    __m512 z = _mm512_mul_ps(x, x), y = number(-5.70498872745e-3f);
    y = _mm512_fmadd_ps(y, z, number(2.06390887954e-2f));
    y = _mm512_fmadd_ps(y, z, number(-5.37397155531e-2f));
    y = _mm512_fmadd_ps(y, z, number(1.33314422036e-1f));
    y = _mm512_fmadd_ps(y, z, number(-3.33332819422e-1f));
    __m512 near = _mm512_fmadd_ps(_mm512_mul_ps(y, z), x, x);
    return _mm512_mask_blend_ps(
        _mm512_cmp_ps_mask(_mm512_abs_ps(x), number(0.625f), _CMP_LT_OQ), far, near);
}
