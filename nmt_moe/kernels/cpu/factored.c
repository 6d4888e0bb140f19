/* The two passes of a factored Adam update over stacked matrices [E, R, C], in float32.

   Written with torch's operations it takes twice as many passes over memory. Each thread takes other
   experts. */

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define ANY_MACHINE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ANY_MACHINE
#endif

ANY_MACHINE
static void squares(const float *grad, float *row, float *column, long rows, long columns) {
    for (long c = 0; c < columns; c++) column[c] = 0;
    for (long r = 0; r < rows; r++, grad += columns) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long c = 0; c < columns; c++) {
            float square = grad[c] * grad[c];
            sum += square;
            column[c] += square;
        }
        row[r] = sum;
    }
}

ANY_MACHINE
static void update(
    float *param, const float *grad, const float *row, const float *column, float step, float keep,
    float eps, long rows, long columns) {
    for (long r = 0; r < rows; r++, param += columns, grad += columns) {
        float factor = row[r];
#pragma omp simd
        for (long c = 0; c < columns; c++)
            param[c] = keep * param[c] - step * grad[c] / (factor * column[c] + eps);
    }
}

/* Sums of the squared gradient over the columns, row [E, R], and over the rows, column [E, C]. */
void factored_squares(
    const float *grad, float *row, float *column, long experts, long rows, long columns,
    long threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (long e = 0; e < experts; e++)
        squares(grad + e * rows * columns, row + e * rows, column + e * columns, rows, columns);
}

/* param = keep * param - step * grad / (row x column + eps), with a number to keep per expert. */
void factored_update(
    float *param, const float *grad, const float *row, const float *column, const float *keep,
    float step, float eps, long experts, long rows, long columns, long threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (long e = 0; e < experts; e++) {
        long first = e * rows * columns;
        update(
            param + first, grad + first, row + e * rows, column + e * columns, step, keep[e], eps,
            rows, columns);
    }
}
