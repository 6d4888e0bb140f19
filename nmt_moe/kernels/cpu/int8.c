/* A search's products with weights in int8: linear layers, whole steps of LSTMs with their attention,
   and mixtures of experts.

   A weight has a scale for each output channel, a row of the other operand one of its own, found as
   the row comes. Weights are stored with 128 added, as the processor's instruction multiplies bytes
   without a sign by bytes with one; each sum starts with what that is too much. They lie in panels
   of PANEL channels, within a panel four inputs of each channel, then the next four inputs: the
   order in which they are read, for any number of rows. The channels of an LSTM's weights are
   ordered so that a panel has the four gates of CELLS cells, which are computed at once. */

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PANEL 64
#define CELLS (PANEL / 4)
#define SMALL (1 << 22) /* multiplications that one thread does before others have begun */
#define MANY 128 /* rows, for which weights come as fast as they are used */
#define CHUNK 48 /* rows of an expert whose hidden activations stay in the cache */

/* [panels, depth / 4, PANEL, 4] numbers, a scale for each channel */
typedef struct {
    const unsigned char *w;
    const float *scale;
} Weight;

/* Rows in int8: `depth` numbers, a multiple of 4, `stride` apart; start: -128 times their sum */
typedef struct {
    signed char *a;
    float *scale;
    int *start;
    size_t depth, stride;
} Rows;

/* y = x w^T + bias, rows of y being y_row apart; bias may be NULL, else it has whole panels */
typedef struct {
    const Weight *w;
    const float *bias;
    float *y;
    size_t rows, columns, y_row;
    int relu;
} Product;

/* A step of `count` cells: the gates are add, rows of which are add_row apart, and the products of
   all parts. */
typedef struct {
    const Weight *w[3];
    const Rows *x[3];
    int parts;
    const float *add;
    float *cells, *out;
    size_t rows, count, add_row, out_row;
} Cells;

/* keys and source are [sentences, length, dim], their rows and steps so far apart; `each` rows side by
   side read the same sentence; v may be NULL, and then `bounded` says whether a tangent bounds the
   query */
typedef struct {
    const float *keys, *source, *v;
    const unsigned char *pad;
    float *weights, *context;
    size_t length, each, dim, keys_row, keys_step, source_row, source_step, weights_row;
    long bounded;
} Attention;

typedef int FourBytes __attribute__((may_alias));

static inline size_t min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t max(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t whole(size_t a, size_t b) { return (a + b - 1) / b * b; }

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,fma")))
#define LANES 16
#define ROWS 6
#define COLUMNS 4
#define DOT(sum, w, a) (ints)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(w), (__m512i)(a))
#include "int8.h"

#if !defined(__clang__) && __GNUC__ >= 11 || defined(__clang__) && __clang_major__ >= 12
#define AVX_VNNI
#define NAME(name) name##_avxvnni
#define TARGET __attribute__((target("avx2,avxvnni,fma")))
#define LANES 8
#define ROWS 2
#define COLUMNS 4
#define DOT(sum, w, a) (ints)_mm256_dpbusd_avx_epi32((__m256i)(sum), (__m256i)(w), (__m256i)(a))
#include "int8.h"
#endif

/* In 16 bits: the instruction for bytes saturates. */
#define NAME(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 2
#define COLUMNS 4
#define EVEN(w, a) \
    _mm256_madd_epi16( \
        _mm256_and_si256((__m256i)(w), _mm256_set1_epi16(255)), \
        _mm256_srai_epi16(_mm256_slli_epi16((__m256i)(a), 8), 8))
#define ODD(w, a) \
    _mm256_madd_epi16(_mm256_srli_epi16((__m256i)(w), 8), _mm256_srai_epi16((__m256i)(a), 8))
#define DOT(sum, w, a) (sum) + (ints)EVEN(w, a) + (ints)ODD(w, a)
#include "int8.h"
#endif

/* Four products of vectors of 32 bits. Which byte comes first does not matter: it is the same of w
   and of a. */
#define NAME(name) name##_any
#define TARGET
#define LANES 4
#define ROWS 2
#define COLUMNS 4
#define BYTE(w, a, at) (((w) >> (at) & 255) * ((a) << (24 - (at)) >> 24))
#define DOT(sum, w, a) (sum) + BYTE(w, a, 0) + BYTE(w, a, 8) + BYTE(w, a, 16) + BYTE(w, a, 24)
#include "int8.h"

static int most = 3;

/* The best instructions to use; those of this machine that are used: 3 AVX-512 VNNI, 2 AVX-VNNI,
   1 AVX2, 0 others. */
int int8_instructions(int best) {
    most = best;
#if defined(__x86_64__)
    if (most > 2 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return 3;
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#ifdef AVX_VNNI
    if (most > 1 && avx2 && __builtin_cpu_supports("avxvnni")) return 2;
#endif
    if (most > 0 && avx2) return 1;
#endif
    return 0;
}

typedef struct {
    void (*quantize)(const float *, size_t, size_t, const Rows *, size_t, size_t);
    void (*linear)(const Product *, const Rows *, size_t, size_t);
    void (*cells)(const Cells *, size_t, size_t);
    void (*attend)(const Attention *, float *, size_t);
} Functions;

static Functions functions(void) {
#define FUNCTIONS(name) \
    (Functions) { quantize_##name, linear_##name, cells_##name, attend_##name }
    switch (int8_instructions(most)) {
#if defined(__x86_64__)
    case 3: return FUNCTIONS(avx512);
#ifdef AVX_VNNI
    case 2: return FUNCTIONS(avxvnni);
#endif
    case 1: return FUNCTIONS(avx2);
#endif
    default: return FUNCTIONS(any);
    }
}

/* Scratch memory is one block, of which parts are taken. */
static void *take(char **from, size_t bytes) {
    void *taken = *from;
    *from += whole(bytes, 64);
    return taken;
}

static size_t rows_size(size_t rows, size_t columns) {
    return rows * whole(columns, 64) + 2 * whole(rows * 4, 64);
}

static Rows take_rows(char **from, size_t rows, size_t columns) {
    Rows taken = {.depth = whole(columns, 4), .stride = whole(columns, 64)};
    taken.a = take(from, rows * taken.stride);
    taken.scale = take(from, rows * 4);
    taken.start = take(from, rows * 4);
    return taken;
}

static inline int useful(size_t rows, size_t weights, int threads) {
    return rows * weights < SMALL ? 1 : threads;
}

/* y = x w^T + bias, of rows that lie x_row apart; y lies by rows. */
typedef struct {
    long rows, inputs, outputs, x_row, relu, threads;
    Weight w;
    const float *bias, *x;
    float *y;
} Linear;

/* Returns 0, or 1 without memory. */
int int8_linear(const Linear *task) {
    Functions f = functions();
    size_t M = task->rows, K = task->inputs, N = task->outputs;
    char *memory = aligned_alloc(64, rows_size(M, K) + 64), *rest = memory;
    if (!memory) return 1;
    Rows x = take_rows(&rest, M, K);
    Product product = {&task->w, task->bias, task->y, M, N, N, task->relu};
    size_t panels = whole(N, PANEL) / PANEL;
#pragma omp parallel num_threads(useful(M, K * N, task->threads))
    {
#pragma omp for
        for (size_t m = 0; m < M; m++) f.quantize(task->x, task->x_row, K, &x, m, m + 1);
#pragma omp for
        for (size_t panel = 0; panel < panels; panel++) f.linear(&product, &x, panel, panel + 1);
    }
    free(memory);
    return 0;
}

/* Steps of an LSTM: from x [steps, rows, inputs], h [steps + 1, rows, dim], of which the first is
   given, and c [rows, cells], which changes. The weights are ordered by panels of cells. There is no
   projection where its w is NULL. With keys an attention, by the output of the step before, gives
   each step its context: contexts [steps, rows, dim], weights [rows, steps, length]. */
typedef struct {
    long steps, rows, inputs, dim, cells, threads;
    Weight input, recurrent, projection, query, context;
    const float *bias, *x;
    float *h, *c;
    const float *keys, *source, *v;
    const unsigned char *pad;
    float *contexts, *weights;
    long length, each, keys_row, keys_step, source_row, source_step, bounded;
} Recurrence;

/* Returns 0, or 1 without memory. */
int int8_recurrence(const Recurrence *task) {
    Functions f = functions();
    size_t L = task->steps, B = task->rows, D = task->dim, C = task->cells, I = task->inputs;
    size_t panels = whole(C, CELLS) / CELLS, width = panels * PANEL, out_row = panels * CELLS;
    size_t dim_panels = whole(D, PANEL) / PANEL;
    /* The inputs' share of the gates is one product for several steps, if these have few rows. */
    size_t together = max(1, min(L, MANY / max(B, 1)));
    int ahead = together > 1, attends = task->keys != NULL;
    size_t size = rows_size(together * B, I) + 2 * rows_size(B, D) + rows_size(B, C) +
                  (ahead ? together * B * width * 4 : 0) + B * out_row * 4 + B * D * 4 + 8 * 64;
    char *memory = aligned_alloc(64, whole(size, 64)), *rest = memory;
    if (!memory) return 1;
    Rows x = take_rows(&rest, together * B, I), h = take_rows(&rest, B, D);
    Rows context = take_rows(&rest, B, D), projected = take_rows(&rest, B, C);
    float *gates = take(&rest, ahead ? together * B * width * 4 : 0);
    float *out = take(&rest, B * out_row * 4), *query = take(&rest, B * D * 4);
    size_t weights = 4 * C * (I + D) + (task->projection.w ? C * D : 0);
#pragma omp parallel num_threads(useful(B, weights, task->threads))
    for (size_t t = 0; t < L; t++) {
        const float *before = task->h + t * B * D;
        float *after = task->h + (t + 1) * B * D;
        if (t % together == 0) {
            size_t rows = min(together, L - t) * B;
            const float *inputs = task->x + t * B * I;
            Product shares = {&task->input, task->bias, gates, rows, width, width, 0};
#pragma omp for
            for (size_t m = 0; m < rows; m++) f.quantize(inputs, I, I, &x, m, m + 1);
            if (ahead) {
#pragma omp for
                for (size_t panel = 0; panel < panels; panel++)
                    f.linear(&shares, &x, panel, panel + 1);
            }
        }
#pragma omp for
        for (size_t m = 0; m < B; m++) f.quantize(before, D, D, &h, m, m + 1);
        if (attends) {
            Product queries = {&task->query, NULL, query, B, D, D, 0};
            Attention attention = {
                task->keys, task->source, task->v, task->pad, task->weights + t * task->length,
                task->contexts + t * B * D, task->length, task->each, D, task->keys_row,
                task->keys_step,
                task->source_row, task->source_step, L * task->length, task->bounded};
#pragma omp for
            for (size_t panel = 0; panel < dim_panels; panel++)
                f.linear(&queries, &h, panel, panel + 1);
#pragma omp for
            for (size_t m = 0; m < B; m++) {
                f.attend(&attention, query + m * D, m);
                f.quantize(attention.context, D, D, &context, m, m + 1);
            }
        }
        const float *add = ahead ? gates + t % together * B * width : task->bias;
        Cells cells = {
            {&task->recurrent}, {&h}, 1, add, task->c, out, B, C, ahead ? width : 0, out_row};
        if (attends) cells.w[cells.parts] = &task->context, cells.x[cells.parts++] = &context;
        if (!ahead) cells.w[cells.parts] = &task->input, cells.x[cells.parts++] = &x;
#pragma omp for
        for (size_t panel = 0; panel < panels; panel++) f.cells(&cells, panel, panel + 1);
        if (task->projection.w) {
            Product projection = {&task->projection, NULL, after, B, D, D, 0};
#pragma omp for
            for (size_t m = 0; m < B; m++) f.quantize(out, out_row, C, &projected, m, m + 1);
#pragma omp for
            for (size_t panel = 0; panel < dim_panels; panel++)
                f.linear(&projection, &projected, panel, panel + 1);
        } else {
#pragma omp for
            for (size_t m = 0; m < B; m++)
                memcpy(after + m * D, out + m * out_row, D * sizeof(float));
        }
    }
    free(memory);
    return 0;
}

/* y_TD = the sum of gate * (relu(x w_in^T) w_out^T) of each token's experts. Assignments are sorted
   by expert: counts of each, the token and the gate of each assignment. The experts' weights and
   scales lie one after the other. */
typedef struct {
    long tokens, dim, hidden_dim, experts, threads;
    Weight in, out;
    const long long *counts, *token;
    const float *gate, *x;
    float *y;
} Mixture;

/* The rows first..first + rows of one expert, in the scratch memory of a thread */
static void expert(
    const Mixture *task, const Functions *f, const Rows *x, size_t number, size_t first,
    size_t rows, float *y, char *memory) {
    size_t D = task->dim, H = task->hidden_dim;
    size_t in_panels = whole(H, PANEL) / PANEL, out_panels = whole(D, PANEL) / PANEL;
    Rows mine = take_rows(&memory, CHUNK, D), hidden = take_rows(&memory, CHUNK, H);
    float *activations = take(&memory, CHUNK * H * 4);
    for (size_t m = 0; m < rows; m++) {
        size_t token = task->token[first + m];
        memcpy(mine.a + m * mine.stride, x->a + token * x->stride, x->stride);
        mine.scale[m] = x->scale[token];
        mine.start[m] = x->start[token];
    }
    Weight in = {
        task->in.w + number * in_panels * PANEL * mine.depth,
        task->in.scale + number * in_panels * PANEL};
    Weight out = {
        task->out.w + number * out_panels * PANEL * hidden.depth,
        task->out.scale + number * out_panels * PANEL};
    Product product = {&in, NULL, activations, rows, H, H, 1};
    f->linear(&product, &mine, 0, in_panels);
    f->quantize(activations, H, H, &hidden, 0, rows);
    for (size_t m = 0; m < rows; m++) hidden.scale[m] *= task->gate[first + m];
    product = (Product){&out, NULL, y + first * D, rows, D, D, 0};
    f->linear(&product, &hidden, 0, out_panels);
}

/* Returns 0, or 1 without memory. */
int int8_mixture(const Mixture *task) {
    Functions f = functions();
    size_t T = task->tokens, D = task->dim, H = task->hidden_dim, A = 0, chunks = 0;
    for (long e = 0; e < task->experts; e++) {
        A += task->counts[e];
        chunks += whole(task->counts[e], CHUNK) / CHUNK;
    }
    int threads = useful(A, 2 * D * H, task->threads);
    size_t own = rows_size(CHUNK, D) + rows_size(CHUNK, H) + CHUNK * H * 4 + 64;
    size_t size = rows_size(T, D) + A * D * 4 + chunks * 3 * sizeof(size_t) + 4 * 64;
    char *memory = aligned_alloc(64, whole(size, 64) + threads * whole(own, 64)), *rest = memory;
    if (!memory) return 1;
    Rows x = take_rows(&rest, T, D);
    float *y_AD = take(&rest, A * D * 4);
    size_t(*chunk)[3] = take(&rest, chunks * 3 * sizeof(size_t)), first = 0, made = 0;
    for (long e = 0; e < task->experts; e++)
        for (long long left = task->counts[e]; left > 0; left -= CHUNK) {
            size_t rows = min(left, CHUNK);
            chunk[made][0] = e, chunk[made][1] = first, chunk[made++][2] = rows;
            first += rows;
        }
    int number = 0;
#pragma omp parallel num_threads(threads)
    {
        int thread;
#pragma omp atomic capture
        thread = number++;
        char *scratch = rest + thread * whole(own, 64);
#pragma omp for
        for (size_t m = 0; m < T; m++) f.quantize(task->x, D, D, &x, m, m + 1);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < chunks; i++)
            expert(task, &f, &x, chunk[i][0], chunk[i][1], chunk[i][2], y_AD, scratch);
#pragma omp for
        for (size_t panel = 0; panel < D; panel += PANEL) {
            size_t columns = min(PANEL, D - panel);
            for (size_t m = 0; m < T; m++)
                memset(task->y + m * D + panel, 0, columns * sizeof(float));
            for (size_t a = 0; a < A; a++) {
                float *to = task->y + task->token[a] * D + panel;
                const float *from = y_AD + a * D + panel;
                for (size_t d = 0; d < columns; d++) to[d] += from[d];
            }
        }
    }
    free(memory);
    return 0;
}
