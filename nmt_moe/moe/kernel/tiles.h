/* The products of one expert for one instruction set, which experts.c chooses by

   NAME(name)    a name of its own for each function
   TARGET        the attribute that lets a function use these instructions
   LANES         numbers in a vector
   ROWS          of a tile of ROWS x COLUMNS vectors, whose sums stay in registers
   STREAM(p, v)  write a vector past the caches

   Matrices lie by rows. K and N, the sides of a weight, are multiples of 16. */

#define COLUMNS 3
#define DEPTH 64 /* steps of a sum between two looks ahead */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES)));
typedef int NAME(bits) __attribute__((vector_size(4 * LANES)));
typedef float NAME(unaligned) __attribute__((vector_size(4 * LANES), aligned(4)));
#define vec NAME(vec)
#define bits NAME(bits)
#define load(p) (*(const NAME(unaligned) *)(p))
#define store(p, v) (*(NAME(unaligned) *)(p) = (v))

#define INLINE TARGET static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define FOR_TILE UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < columns; c++)

/* Run it with the sizes of the tile as constants, which the compiler unrolls. */
#define WITH_COLUMNS(TILE, R) \
    if (columns == 3) TILE(R, 3); \
    else if (columns == 2) TILE(R, 2); \
    else TILE(R, 1);
#if ROWS == 8
#define WITH_MORE_ROWS(TILE) \
    case 8: WITH_COLUMNS(TILE, 8) break; \
    case 7: WITH_COLUMNS(TILE, 7) break; \
    case 6: WITH_COLUMNS(TILE, 6) break; \
    case 5: WITH_COLUMNS(TILE, 5) break;
#else
#define WITH_MORE_ROWS(TILE)
#endif
#define WITH_SIZES(TILE) \
    switch (rows) { \
        WITH_MORE_ROWS(TILE) \
    case 4: WITH_COLUMNS(TILE, 4) break; \
    case 3: WITH_COLUMNS(TILE, 3) break; \
    case 2: WITH_COLUMNS(TILE, 2) break; \
    default: WITH_COLUMNS(TILE, 1) \
    }

/* sums[r][c] += a[r * a_row + i * a_step] * b[i * b_step + c] over i < depth */
INLINE void NAME(tile)(
    int rows, int columns, size_t depth, const float *a, size_t a_row, size_t a_step,
    const float *b, size_t b_step, vec sums[ROWS][COLUMNS]) {
    vec s[ROWS][COLUMNS];
    FOR_TILE s[r][c] = sums[r][c];
    for (size_t i = 0; i < depth; i++) {
        vec line[COLUMNS];
        UNROLL for (int c = 0; c < columns; c++) line[c] = load(b + i * b_step + c * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            float number = a[r * a_row + i * a_step];
            UNROLL for (int c = 0; c < columns; c++) s[r][c] += number * line[c];
        }
    }
    FOR_TILE sums[r][c] = s[r][c];
}

/* y_MN = x_MK w_KN, and relu */
INLINE void NAME(product)(
    const float *x, const float *w, float *y, size_t M, size_t K, size_t N, int relu) {
    size_t blocks = (M + ROWS - 1) / ROWS;
    for (size_t k = 0; k < K; k += DEPTH) {
        size_t depth = min(DEPTH, K - k);
        int last = k + depth == K;
        for (size_t n = 0; n < N; n += COLUMNS * LANES) {
            int columns = min(COLUMNS, (N - n) / LANES);
            const float *panel = w + k * N + n;
            /* All blocks together fetch the next panel: hardware does not, across pages. */
            const float *next = panel + COLUMNS * LANES;
            if (n + COLUMNS * LANES >= N) next = w + (k + DEPTH) * N;
            for (size_t block = 0; block < blocks; block++) {
                for (size_t i = DEPTH * block / blocks; i < DEPTH * (block + 1) / blocks; i++)
                    for (int c = 0; c < COLUMNS; c++)
                        __builtin_prefetch(next + i * N + c * LANES, 0, 3);
                size_t m = block * ROWS;
                int rows = min(ROWS, M - m);
                float *out = y + m * N + n;
                vec sums[ROWS][COLUMNS] = {{{0}}};
                if (k) FOR_TILE sums[r][c] = load(out + r * N + c * LANES);
#define TILE(R, C) NAME(tile)(R, C, depth, x + m * K + k, K, 1, panel, N, sums)
                WITH_SIZES(TILE)
#undef TILE
                FOR_TILE {
                    vec v = sums[r][c];
                    if (relu && last) v = (vec)((bits)v & ~(bits)(v <= 0)); /* NaN stays */
                    store(out + r * N + c * LANES, v);
                }
            }
        }
    }
}

/* x_MK = y_MN w_KN^T, zero where mask_MK is not positive. The rows of y are in the lanes: y_NM is
   scratch memory for y transposed, padded to whole vectors. */
INLINE void NAME(product_t)(
    const float *y, const float *w, float *x, size_t M, size_t K, size_t N, const float *mask,
    float *y_NM) {
    size_t vectors = (M + LANES - 1) / LANES, padded = vectors * LANES;
    for (size_t n = 0; n < N; n += LANES)
        for (size_t m = 0; m < padded; m++)
            for (size_t i = 0; i < LANES; i++)
                y_NM[(n + i) * padded + m] = m < M ? y[m * N + n + i] : 0;
    size_t parts = (vectors + COLUMNS - 1) / COLUMNS;
    int short_rows = N * sizeof(float) < 4096;
    for (size_t k = 0; k < K; k += 2 * ROWS) {
        for (size_t part = 0; part < parts; part++) {
            size_t m = vectors * part / parts * LANES;
            int columns = vectors * (part + 1) / parts - m / LANES;
            vec sums[2][ROWS][COLUMNS] = {{{{0}}}};
            for (int half = 0; half < 2; half++) {
                const float *lines = w + (k + half * ROWS) * N;
                for (size_t n = 0; n < N; n += DEPTH) {
                    size_t depth = min(DEPTH, N - n);
                    if (short_rows && !part) /* hardware fetches long ones ahead */
                        for (size_t r = ROWS; r < 2 * ROWS; r++)
                            for (size_t i = 0; i < depth; i += 16)
                                __builtin_prefetch(lines + r * N + n + i, 0, 3);
                    const float *b = y_NM + n * padded + m;
#define TILE(R, C) NAME(tile)(R, C, depth, lines + n, N, 1, b, padded, sums[half])
                    WITH_COLUMNS(TILE, ROWS)
#undef TILE
                }
            }
            const float *sum = (const float *)sums;
            for (size_t i = 0; i < (size_t)columns * LANES && m + i < M; i++) {
                size_t at = (m + i) * K + k;
                for (size_t r = 0; r < 2 * ROWS; r++) {
                    float value = sum[r * COLUMNS * LANES + i];
                    x[at + r] = mask && mask[at + r] <= 0 ? 0 : value;
                }
            }
        }
    }
}

/* w_KN = x_MK^T y_MN */
INLINE void NAME(outer)(
    const float *x, const float *y, float *w, size_t M, size_t K, size_t N) {
    const int rows = ROWS;
    for (size_t k = 0; k < K; k += ROWS)
        for (size_t n = 0; n < N; n += COLUMNS * LANES) {
            int columns = min(COLUMNS, (N - n) / LANES);
            vec sums[ROWS][COLUMNS] = {{{0}}};
#define TILE(R, C) NAME(tile)(R, C, M, x + k, 1, K, y + n, N, sums)
            WITH_COLUMNS(TILE, ROWS)
#undef TILE
            float *out = w + k * N + n;
            FOR_TILE STREAM(out + r * N + c * LANES, sums[r][c]);
        }
}

TARGET static void NAME(forward)(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows, first = group->first;
    float *hidden = task->hidden ? task->hidden + first * H : scratch;
    NAME(product)(task->x + first * D, task->w_in + group->expert * D * H, hidden, M, D, H, 1);
    NAME(product)(hidden, task->w_out + group->expert * D * H, task->y + first * D, M, H, D, 0);
}

TARGET static void NAME(backward)(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows, first = group->first;
    size_t weight = group->expert * D * H;
    const float *x = task->x + first * D, *dy = task->dy + first * D, *w_in = task->w_in + weight;
    float *hidden = task->hidden ? task->hidden + first * H : scratch;
    float *dhidden = scratch + M * H, *transposed = dhidden + M * H;
    if (!task->hidden) NAME(product)(x, w_in, hidden, M, D, H, 1);
    NAME(outer)(hidden, dy, task->dw_out + weight, M, H, D);
    NAME(product_t)(dy, task->w_out + weight, dhidden, M, H, D, hidden, transposed);
    NAME(outer)(x, dhidden, task->dw_in + weight, M, D, H);
    NAME(product_t)(dhidden, w_in, task->dx + first * D, M, D, H, NULL, transposed);
}

#undef NAME
#undef TARGET
#undef LANES
#undef ROWS
#undef STREAM
#undef COLUMNS
#undef DEPTH
#undef vec
#undef bits
#undef load
#undef store
#undef INLINE
#undef UNROLL
#undef FOR_TILE
#undef WITH_COLUMNS
#undef WITH_MORE_ROWS
#undef WITH_SIZES
