/* The best words of each hypothesis of a search, and their log probabilities, in float32.

   A row of scores is read while it lies in the caches: once for the greatest of each block of
   columns, once for the sum of exponentials, and a few of its blocks once more for the best. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define ANY_MACHINE __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define ANY_MACHINE
#endif

#define BLOCK 256

static inline long min(long a, long b) { return a < b ? a : b; }

/* The greatest number; NaN is none. */
ANY_MACHINE
static float greatest(const float *x, long n) {
    float most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (long i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* The sum of exp(x - most), where no number is greater than most; NaN if one is NaN.

   exp(y) = 2^k exp(y - k log 2), whose second factor is a polynomial to within 2 ulp. */
ANY_MACHINE
static float exponentials(const float *x, long n, float most) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it leaves no fraction */
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) {
        float y = x[i] - most;
        y = y < -87.0f ? -87.0f : y;
        float shifted = y * 1.44269504f + round;
        float k = shifted - round;
        float r = (y - k * 0.693359375f) + k * 2.12194440e-4f;
        float p = 1.9875691500e-4f;
        p = p * r + 1.3981999507e-3f;
        p = p * r + 8.3334519073e-3f;
        p = p * r + 4.1665795894e-2f;
        p = p * r + 1.6666665459e-1f;
        p = p * r + 5.0000001201e-1f;
        p = p * r * r + r + 1.0f;
        int bits, of_k;
        memcpy(&of_k, &shifted, sizeof bits);
        memcpy(&bits, &p, sizeof bits);
        bits += (int)((unsigned)of_k << 23);
        memcpy(&p, &bits, sizeof bits);
        sum += y != y ? y : p;
    }
    return sum;
}

/* Put x into the n best, in order; the worst of `most` goes. Returns how many there are then. */
static inline long insert(float *best, long *where, long n, long most, float x, long place) {
    if (n == most && !(x > best[n - 1])) return n;
    long i = n < most ? n : n - 1;
    for (; i > 0 && x > best[i - 1]; i--) {
        best[i] = best[i - 1];
        where[i] = where[i - 1];
    }
    best[i] = x;
    where[i] = place;
    return n < most ? n + 1 : n;
}

/* Of each row of x [rows, columns] the `count` best in order, best and where [rows, count]: their
   logarithms of the softmax, and their columns. After the softmax extra[i] is added to column
   changed[i] of all rows, also in x. Returns 0, or 1 without memory. */
int best_of_rows(
    float *x, float *best, long *where, long rows, long columns, long count, const long *changed,
    const float *extra, long changes, long threads) {
    long blocks = (columns + BLOCK - 1) / BLOCK, few = min(count, blocks);
    int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *maxima = malloc((blocks + few) * sizeof(float)), *top = maxima + blocks;
        long *chosen = malloc(few * sizeof(long));
        if (!maxima || !chosen) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for
        for (long r = 0; r < rows; r++) {
            if (!maxima || !chosen) continue;
            float *row = x + r * columns, *found = best + r * count;
            long *place = where + r * count;
            for (long b = 0; b < blocks; b++)
                maxima[b] = greatest(row + b * BLOCK, min(BLOCK, columns - b * BLOCK));
            float most = greatest(maxima, blocks);
            double sum = 0;
            for (long b = 0; b < blocks; b++)
                sum += exponentials(row + b * BLOCK, min(BLOCK, columns - b * BLOCK), most);
            float all = most + (float)log(sum);
            for (long i = 0; i < changes; i++) {
                long b = changed[i] / BLOCK;
                row[changed[i]] += extra[i];
                maxima[b] = greatest(row + b * BLOCK, min(BLOCK, columns - b * BLOCK));
            }
            /* The best numbers lie in as many blocks, those with the greatest maxima. */
            long n = 0;
            for (long b = 0; b < blocks; b++)
                n = insert(top, chosen, n, few, maxima[b], b);
            n = 0;
            for (long i = 0; i < few; i++) {
                long first = chosen[i] * BLOCK, last = min(columns, first + BLOCK);
                for (long c = first; c < last; c++)
                    n = insert(found, place, n, count, row[c], c);
            }
            for (long i = 0; i < count; i++)
                found[i] -= all;
        }
        free(maxima);
        free(chosen);
    }
    return failed;
}
