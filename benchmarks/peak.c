/* Loops that do nothing but what a processor is fastest at, in one thread each: benchmarks/peak.py
   compiles this for the machine that it runs on, and runs as many at once as a benchmark has threads.

   fma_float32, fma_bfloat16, fma_int8   so many rounds of multiply-adds on registers alone, as many
                 in flight as hide the time that each takes
   in_float32, in_bfloat16, in_int8      operations of a round, two for each multiply-add; 0 where
                 the processor has no instruction for them
   read_memory, copy_memory              so many bytes from memory, or from there to there */

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define BYTES 64
#define FLIGHT 16 /* of 32 registers */
#elif defined(__AVX__)
#define BYTES 32
#define FLIGHT 12 /* of 16 */
#elif defined(__x86_64__) || defined(__i386__)
#define BYTES 16
#define FLIGHT 12
#else
#define BYTES 16
#define FLIGHT 16
#endif
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(BYTES)));
typedef int64_t words __attribute__((vector_size(BYTES)));

long in_float32(void) { return 2 * FLIGHT * (BYTES / sizeof(float)); }

double fma_float32(long rounds)
{
    vec sums[FLIGHT], a, b;
    for (unsigned i = 0; i < BYTES / sizeof(float); i++) a[i] = 0.999f, b[i] = 0.001f;
    UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = b * (float)i; /* equal ones would be one */
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = sums[i] * a + b;
    }
    UNROLL for (int i = 1; i < FLIGHT; i++) sums[0] += sums[i];
    return sums[0][0];
}

#if defined(USE_AMX) && defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

long in_bfloat16(void)
{
    /* The system grants this process the registers. */
    return syscall(SYS_arch_prctl, 0x1023, 18) ? 0 : 4 * 2 * 16 * 16 * 32;
}

double fma_bfloat16(long rounds)
{
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1,
               .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    uint32_t ones[16 * 16];
    float sums[4][16 * 16];
    double all = 0;
    for (int i = 0; i < 16 * 16; i++) ones[i] = 0x3f803f80;
    _tile_loadconfig(&tiles);
    _tile_loadd(4, ones, 64);
    _tile_loadd(5, ones, 64);
    _tile_loadd(6, ones, 64);
    _tile_loadd(7, ones, 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    _tile_release();
    for (int i = 0; i < 16 * 16; i++)
        for (int tile = 0; tile < 4; tile++) all += sums[tile][i];
    return all;
}
#elif defined(__AVX512BF16__) && defined(__AVX512F__)
long in_bfloat16(void) { return 2 * FLIGHT * 32; }

double fma_bfloat16(long rounds)
{
    __m512 sums[FLIGHT];
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(-0.5f));
    UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = _mm512_set1_ps((float)i);
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = _mm512_dpbf16_ps(sums[i], a, a);
    }
    UNROLL for (int i = 1; i < FLIGHT; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}
#else
long in_bfloat16(void) { return 0; }
double fma_bfloat16(long rounds) { return (double)rounds; }
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#define INT8 64
typedef __m512i bytes;
#define ONES _mm512_set1_epi8(1)
#define START _mm512_set1_epi32
#define DOT _mm512_dpbusd_epi32
#define ADD _mm512_add_epi32
#elif defined(__AVXVNNI__)
#define INT8 32
typedef __m256i bytes;
#define ONES _mm256_set1_epi8(1)
#define START _mm256_set1_epi32
#define DOT _mm256_dpbusd_avx_epi32
#define ADD _mm256_add_epi32
#endif

#ifdef INT8
long in_int8(void) { return 2 * FLIGHT * INT8; }

double fma_int8(long rounds)
{
    bytes sums[FLIGHT], a = ONES;
    /* equal ones would be one, and those that the compiler knows may stay in memory */
    UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = START((int)rounds + i);
    for (long round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < FLIGHT; i++) sums[i] = DOT(sums[i], a, a);
    }
    UNROLL for (int i = 1; i < FLIGHT; i++) sums[0] = ADD(sums[0], sums[i]);
    return (double)(int32_t)sums[0][0];
}
#else
long in_int8(void) { return 0; }
double fma_int8(long rounds) { return (double)rounds; }
#endif

double read_memory(const char *from, long size)
{
    words sums[8] = {{0}};
    for (long at = 0; at + 8 * BYTES <= size; at += 8 * BYTES) {
        UNROLL for (int i = 0; i < 8; i++) sums[i] ^= *(const words *)(from + at + i * BYTES);
    }
    UNROLL for (int i = 1; i < 8; i++) sums[0] ^= sums[i];
    return (double)sums[0][0];
}

void copy_memory(char *to, const char *from, long size) { memcpy(to, from, (size_t)size); }
