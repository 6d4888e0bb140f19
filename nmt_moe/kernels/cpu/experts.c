/* The experts' feed-forward networks, each thread computing other experts; and the product of few
   rows with one matrix, as a search needs it.

   A library's product first copies its operands into an order of its own, which for few rows takes
   longer than to multiply. For these, tiles.h reads each expert's weights once, as they lie in
   memory, and writes their gradients once; only what is used again and again is copied. More rows,
   and all in bfloat16, go to product.c or to the library, one thread each. */

#include "product.h"

#include <stddef.h>
#include <stdlib.h>

/* BLAS's product, in Fortran's order: C = op(A) op(B) */
typedef void Gemm(
    const char *op_a, const char *op_b, const int *m, const int *n, const int *k,
    const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
    const float *beta, float *c, const int *ldc);

typedef struct {
    long expert, first, rows;
} Group;

/* x, y, dx, dy are [A, dim], hidden is [A, hidden_dim] or NULL; w_in, dw_in are
   [E, dim, hidden_dim], w_out, dw_out are [E, hidden_dim, dim]. All lie by rows and are float32, the
   weights and their gradients of type `weights`. */
typedef struct {
    const Group *groups;
    long count, most_rows, few_rows, dim, hidden_dim, threads;
    Gemm *gemm; /* for more than few_rows; NULL: product.c, */
    int precision, weights; /* in this precision */
    const float *x;
    const void *w_in, *w_out;
    float *hidden, *y;
    const float *dy;
    float *dx;
    void *dw_in, *dw_out;
    const unsigned char *stays; /* [A, hidden_dim]: 0 where a hidden number is dropped; or NULL */
    float scale;                /* of those that stay */
} Task;

/* y = x w^T + add, of few rows. x is [rows, dim_in], rows x_row apart; w [dim_out, dim_in]; y and
   add, which may be NULL or y, [rows, dim_out], rows y_row apart. dim_in is a multiple of 16. */
typedef struct {
    long rows, dim_in, dim_out, x_row, y_row, threads;
    const float *x, *w, *add;
    float *y;
} Linear;

static inline size_t min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t max(size_t a, size_t b) { return a > b ? a : b; }

/* Hidden activations of a group, some of them dropped. */
static void drop(const Task *task, const Group *group, float *hidden) {
    if (!task->stays) return;
    size_t H = task->hidden_dim;
    const unsigned char *stays = task->stays + group->first * H;
    for (size_t i = 0; i < group->rows * H; i++)
        hidden[i] *= stays[i] ? task->scale : 0; /* NaN stays */
}

/* Their gradients, which are 0 already where they are. */
static void drop_backward(const Task *task, const Group *group, float *dhidden) {
    if (!task->stays) return;
    size_t numbers = group->rows * task->hidden_dim;
    for (size_t i = 0; i < numbers; i++) dhidden[i] *= task->scale;
}

/* What becomes of a tile: stays in the caches, with relu or without, or is not read again soon. */
enum end { KEPT, RELU, WRITTEN };

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME(name) name##_avx512
#define TARGET __attribute__((target("avx512f,fma")))
#define LANES 16
#define ROWS 8
#define STREAM(to, v) _mm512_stream_ps(to, (__m512)(v))
#include "tiles.h"

#define NAME(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 4
#define STREAM(to, v) store(to, v) /* half a line past the caches takes longer than a whole in them */
#include "tiles.h"
#endif

#define NAME(name) name##_any
#define TARGET
#define LANES 4
#define ROWS 4
#define STREAM(to, v) store(to, v)
#include "tiles.h"

static Operand weight(const Task *task, const void *all, long expert, long columns) {
    size_t number = expert * task->dim * task->hidden_dim;
    return by_rows(numbers_at(all, number, task->weights), columns, task->weights);
}

/* c = a b, of m rows and n columns: lines of a are its rows, of b its columns. */
static int many_rows(const Task *task, Operand a, Operand b, float *c, int m, int n, int k) {
    if (!task->gemm) {
        Product of = {a, b, m, n, k, NULL, 0, c, n, task->precision};
        return product(&of, 1);
    }
    const float one = 1, zero = 0;
    /* Fortran reads c by columns, that is transposed, and so b comes first. */
    task->gemm(
        b.line == 1 ? "N" : "T", a.step == 1 ? "N" : "T", &n, &m, &k, &one, b.at,
        b.line == 1 ? &n : &k, a.at, a.step == 1 ? &k : &m, &zero, c, &n);
    return 0;
}

/* The gradient of an expert's weight [m, n], k rows being summed; `wide` is for m n numbers. */
static int weight_gradient(
    const Task *task, Operand a, Operand b, void *all, long expert, long m, long n, long k,
    float *wide) {
    void *dw = (void *)numbers_at(all, expert * m * n, task->weights);
    if (task->weights == FLOAT32) return many_rows(task, a, b, dw, m, n, k);
    int failed = many_rows(task, a, b, wide, m, n, k);
    round_bfloat16(wide, m * n, dw);
    return failed;
}

static int hidden_many(const Task *task, const Group *group, float *hidden) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows;
    Operand x = by_rows(task->x + group->first * D, D, FLOAT32);
    Operand w_in = weight(task, task->w_in, group->expert, H);
    int failed = many_rows(task, x, transposed(w_in), hidden, M, H, D);
    for (size_t i = 0; i < M * H; i++) hidden[i] = hidden[i] <= 0 ? 0 : hidden[i]; /* NaN stays */
    drop(task, group, hidden);
    return failed;
}

static int forward_many(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, first = group->first;
    float *hidden = task->hidden ? task->hidden + first * H : scratch;
    if (hidden_many(task, group, hidden)) return 1;
    Operand w_out = weight(task, task->w_out, group->expert, D);
    return many_rows(
        task, by_rows(hidden, H, FLOAT32), transposed(w_out), task->y + first * D, group->rows, D, H);
}

static int backward_many(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows, first = group->first;
    float *hidden = task->hidden ? task->hidden + first * H : scratch, *dhidden = scratch + M * H;
    float *wide = dhidden + M * H;
    long e = group->expert;
    if (!task->hidden && hidden_many(task, group, hidden)) return 1;
    Operand x = by_rows(task->x + first * D, D, FLOAT32), h = by_rows(hidden, H, FLOAT32);
    Operand dy = by_rows(task->dy + first * D, D, FLOAT32), dh = by_rows(dhidden, H, FLOAT32);
    Operand w_in = weight(task, task->w_in, e, H), w_out = weight(task, task->w_out, e, D);
    int failed =
        weight_gradient(task, transposed(h), transposed(dy), task->dw_out, e, H, D, M, wide);
    failed |= many_rows(task, dy, w_out, dhidden, M, H, D);
    for (size_t i = 0; i < M * H; i++) dhidden[i] = hidden[i] <= 0 ? 0 : dhidden[i];
    drop_backward(task, group, dhidden);
    failed |= weight_gradient(task, transposed(x), transposed(dh), task->dw_in, e, D, H, M, wide);
    return failed | many_rows(task, dh, w_in, task->dx + first * D, M, D, H);
}

typedef int Run(const Task *task, const Group *group, float *scratch);

static int run(const Task *task, Run *few, Run *many) {
    /* Hidden activations and their gradients; and a product's output, twice, and input. */
    size_t padded = (task->most_rows + 15) / 16 * 16;
    size_t D = task->dim, H = task->hidden_dim, scratch_size = padded * (3 * H + D + max(D, H));
    if (task->weights != FLOAT32) scratch_size = max(scratch_size, padded * 2 * H + D * H);
    int failed = 0;
#pragma omp parallel num_threads(task->threads)
    {
        float *scratch = aligned_alloc(64, scratch_size * sizeof(float));
        if (!scratch) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (long i = 0; i < task->count; i++) {
            const Group *group = task->groups + i;
            if (scratch && (group->rows > task->few_rows ? many : few)(task, group, scratch)) {
#pragma omp atomic write
                failed = 1;
            }
        }
        free(scratch);
    }
    return failed;
}

static int most = 2;

/* The best instructions to use; those of this machine that are used: 2 AVX-512, 1 AVX2, 0 others. */
int experts_instructions(int best) {
    most = best;
#if defined(__x86_64__)
    if (most > 1 && __builtin_cpu_supports("avx512f")) return 2;
    if (most > 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

#if defined(__x86_64__)
#define CHOOSE(type, name) \
    ((type *[]){name##_any, name##_avx2, name##_avx512}[experts_instructions(most)])
#else
#define CHOOSE(type, name) name##_any
#endif

/* Of each group: hidden, unless that is NULL, and y. Returns 0, or 1 without memory. */
int experts_forward(const Task *task) { return run(task, CHOOSE(Run, forward), forward_many); }

/* Of each group: dx, dw_in and dw_out; computes hidden again if that is NULL. */
int experts_backward(const Task *task) { return run(task, CHOOSE(Run, backward), backward_many); }

typedef void Share(const Linear *task, const float *x_KM, size_t from, size_t to);
typedef void Rows(const Linear *task, float *x_KM, size_t from, size_t to);

#define SHARE 128 /* rows of w that a thread takes at a time */

/* Returns 0, or 1 without memory. */
int few_rows_linear(const Linear *task) {
    size_t K = task->dim_in, N = task->dim_out, whole = N / 16 * 16;
    float *x_KM = aligned_alloc(64, (task->rows + 15) / 16 * 16 * K * sizeof(float));
    if (!x_KM) return 1;
    Share *share = CHOOSE(Share, linear);
    Rows *transpose = CHOOSE(Rows, rows);
#pragma omp parallel num_threads(task->threads)
    {
#pragma omp for
        for (size_t k = 0; k < K; k += 16) transpose(task, x_KM, k, k + 16);
#pragma omp for schedule(dynamic)
        for (size_t n = 0; n < whole; n += SHARE) share(task, x_KM, n, min(n + SHARE, whole));
#pragma omp for
        for (size_t n = whole; n < N; n++)
            for (long m = 0; m < task->rows; m++) {
                float sum = 0;
                for (size_t k = 0; k < K; k++)
                    sum += task->x[m * task->x_row + k] * task->w[n * K + k];
                size_t at = m * task->y_row + n;
                task->y[at] = task->add ? sum + task->add[at] : sum;
            }
    }
    free(x_KM);
    return 0;
}
