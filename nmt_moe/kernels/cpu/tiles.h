/* The products of one expert for one instruction set, which experts.c chooses by

   NAME(name)    a name of its own for each function
   TARGET        the attribute that lets a function use these instructions
   LANES         numbers in a vector
   ROWS          of a tile of ROWS x COLUMNS vectors, whose sums stay in registers
   STREAM(p, v)  write a vector that is not read again soon

   Matrices lie by rows. K and N, the sides of a weight, are multiples of 16. */

#define COLUMNS 3
#define DEPTH (COLUMNS * 16) /* steps of a sum, whole panels, where lines are read along */
#define LINES 32 /* where they are read across: more, and so many pages, are slower */
#define TILES (16 / ROWS) /* that share the lines of a panel */
#define NEAR 2 /* the second cache */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES)));
typedef int NAME(bits) __attribute__((vector_size(4 * LANES)));
typedef float NAME(unaligned) __attribute__((vector_size(4 * LANES), aligned(4)));
#define vec NAME(vec)
#define bits NAME(bits)
#define load(p) (*(const NAME(unaligned) *)(p))
#define store(p, v) (*(NAME(unaligned) *)(p) = (v))

#define INLINE TARGET static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
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

/* out[r][c] = from[r][c] + the sum of a[r * a_row + i * a_step] * b[i * b_step + c] over i < depth,
   where from and out have lines step numbers apart and from may be NULL for zeros. copy, unless
   that is NULL, gets the lines of b one after the other. */
INLINE void NAME(tile)(
    int rows, int columns, size_t depth, const float *a, size_t a_row, size_t a_step,
    const float *b, size_t b_step, float *copy, const float *from, size_t from_step,
    float *out, size_t step, enum end end) {
    vec sums[2 * ROWS][COLUMNS];
    if (from)
        FOR_TILE sums[r][c] = load(from + r * from_step + c * LANES);
    else
        FOR_TILE sums[r][c] = (vec){0};
    for (size_t i = 0; i < depth; i++) {
        vec line[COLUMNS];
        UNROLL for (int c = 0; c < columns; c++) line[c] = load(b + i * b_step + c * LANES);
        if (copy)
            UNROLL for (int c = 0; c < columns; c++)
                store(copy + (i * columns + c) * LANES, line[c]);
        UNROLL for (int r = 0; r < rows; r++) {
            float number = a[r * a_row + i * a_step];
            UNROLL for (int c = 0; c < columns; c++) sums[r][c] += number * line[c];
        }
    }
    if (end == RELU)
        FOR_TILE sums[r][c] = (vec)((bits)sums[r][c] & ~(bits)(sums[r][c] <= 0)); /* NaN stays */
    if (end == WRITTEN)
        FOR_TILE STREAM(out + r * step + c * LANES, sums[r][c]);
    else
        FOR_TILE store(out + r * step + c * LANES, sums[r][c]);
}

/* rows[i][j] = rows[j][i] */
INLINE void NAME(turn)(vec rows[LANES]) {
    bits low, high;
    UNROLL for (int i = 0; i < LANES; i++) {
        low[i] = i / 2 + i % 2 * LANES;
        high[i] = low[i] + LANES / 2;
    }
    UNROLL for (int half = LANES / 2; half; half /= 2) { /* each exchanges one bit of i and j */
        vec next[LANES];
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], high);
        }
        UNROLL for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
}

/* Lines of a panel, one after the other. Lines that are a power of two apart, as those of most
   weights and activations are, would push each other out of the caches. */
INLINE void NAME(pack)(const float *from, size_t step, float *to, size_t lines, int vectors) {
    for (size_t i = 0; i < lines; i++)
        for (int v = 0; v < vectors; v++)
            store(to + (i * vectors + v) * LANES, load(from + i * step + v * LANES));
}

/* y_MN = x_MK w_KN, and relu; scratch is for LINES + N numbers of each row of x. */
INLINE void NAME(product)(
    const float *x, const float *w, float *y, size_t M, size_t K, size_t N, int relu,
    float *scratch) {
    float panel[LINES * COLUMNS * LANES] __attribute__((aligned(64)));
    float *sums_MN = scratch + M * LINES; /* in panels: rows of y may be a power of two apart */
    size_t blocks = (M + ROWS - 1) / ROWS;
    /* Few rows are done before memory is: fewer lines of w at a time come in faster. */
    size_t most = M <= 16 ? LINES / 2 : LINES;
    for (size_t k = 0; k < K; k += most) {
        size_t depth = min(most, K - k);
        int last = k + depth == K;
        NAME(pack)(x + k, K, scratch, M, depth / LANES);
        for (size_t n = 0; n < N; n += COLUMNS * LANES) {
            int columns = min(COLUMNS, (N - n) / LANES);
            const float *lines = w + k * N + n;
            /* All blocks together fetch the next panel: hardware does not, across pages. */
            const float *next = lines + COLUMNS * LANES;
            if (n + COLUMNS * LANES >= N) next = w + (k + most) * N;
            for (size_t block = 0; block < blocks; block++) {
                for (size_t i = most * block / blocks; i < most * (block + 1) / blocks; i++)
                    for (int c = 0; c < COLUMNS * LANES; c += 16)
                        __builtin_prefetch(next + i * N + c, 0, NEAR);
                size_t m = block * ROWS;
                int rows = min(ROWS, M - m);
                float *sums = sums_MN + n * M + m * columns * LANES;
                float *out = last ? y + m * N + n : sums;
                size_t step = last ? N : columns * LANES;
                const float *from = k ? sums : NULL;
                enum end end = relu && last ? RELU : KEPT;
#define FIRST(R, C) \
    NAME(tile)(R, C, depth, scratch, depth, 1, lines, N, panel, from, C * LANES, out, step, end)
#define TILE(R, C) \
    NAME(tile) \
    (R, C, depth, scratch + m * depth, depth, 1, panel, C * LANES, NULL, from, C * LANES, out, \
     step, end)
                if (block) {
                    WITH_SIZES(TILE)
                } else {
                    WITH_SIZES(FIRST)
                }
#undef TILE
#undef FIRST
            }
        }
    }
}

/* y_NM = rows of y transposed, from n to the one before end, padded with zeros to whole vectors */
INLINE void NAME(transpose)(
    const float *y, size_t y_row, float *y_NM, size_t M, size_t n, size_t end) {
    size_t padded = (M + LANES - 1) / LANES * LANES;
    for (; n < end; n += LANES)
        for (size_t m = 0; m < padded; m += LANES) {
            vec rows[LANES];
            UNROLL for (size_t i = 0; i < LANES; i++)
                rows[i] = m + i < M ? load(y + (m + i) * y_row + n) : (vec){0};
            NAME(turn)(rows);
            UNROLL for (size_t i = 0; i < LANES; i++) store(y_NM + (n + i) * padded + m, rows[i]);
        }
}

/* Rows of x in panels of ROWS, each the numbers of all M rows one after the other */
INLINE void NAME(pack_rows)(const float *x, float *x_panels, size_t M, size_t K) {
    for (size_t m = 0; m < M; m++)
        for (size_t k = 0; k < K; k += ROWS)
            for (size_t r = 0; r < ROWS; r++) x_panels[k * M + m * ROWS + r] = x[m * K + k + r];
}

/* Columns n to end of 2 ROWS rows, from k, of the gradient x_MK^T y_MN */
INLINE void NAME(outer)(
    const float *x_panels, const float *y_panels, float *dw, size_t M, size_t N, size_t k, size_t n,
    size_t end) {
    for (; n < end; n += COLUMNS * LANES)
        for (size_t row = k; row < k + 2 * ROWS; row += ROWS) {
            int columns = min(COLUMNS, (end - n) / LANES);
            float *out = dw + row * N + n;
#define TILE(R, C) \
    NAME(tile) \
    (R, C, M, x_panels + row * M, 1, ROWS, y_panels + n * M, C * LANES, NULL, NULL, 0, out, N, \
     WRITTEN)
            WITH_COLUMNS(TILE, ROWS)
#undef TILE
        }
}

/* x_MK = y_MN w_KN^T + add_MK, zero where mask_MK is not positive, unless these are NULL. The rows
   of y are in the lanes: y_NM is y transposed. K is a multiple of 16. Unless dw is NULL, it gets its
   gradient in the same pass, which writes memory while the product reads it. */
INLINE void NAME(product_t)(
    const float *y_NM, const float *w, float *x, size_t x_row, size_t M, size_t K, size_t N,
    const float *mask, const float *add, const float *x_panels, const float *y_panels, float *dw) {
    size_t vectors = (M + LANES - 1) / LANES, padded = vectors * LANES;
    size_t parts = (vectors + COLUMNS - 1) / COLUMNS;
    for (size_t k = 0; k < K; k += TILES * ROWS) {
        float sums[parts][TILES * ROWS][COLUMNS * LANES] __attribute__((aligned(64)));
        for (size_t n = 0; n < N; n += DEPTH) { /* these of y stay in the cache for all tiles */
            size_t depth = min(DEPTH, N - n);
            for (size_t row = 0; row < TILES * ROWS; row += 2 * ROWS) {
                const float *lines = w + (k + row) * N + n;
                const float *next = n + DEPTH < N ? lines + DEPTH : w + (k + TILES * ROWS + row) * N;
                for (size_t r = 0; r < 2 * ROWS; r++)
                    for (size_t i = 0; i < DEPTH; i += 16)
                        __builtin_prefetch(next + r * N + i, 0, NEAR);
                for (size_t part = 0; part < parts; part++) {
                    size_t from = vectors * part / parts;
                    int columns = vectors * (part + 1) / parts - from;
                    const float *b = y_NM + n * padded + from * LANES;
                    float *sum = sums[part][row];
#define TILE(R, C, r) \
    NAME(tile) \
    (R, C, depth, lines + r * N, N, 1, b, padded, NULL, n ? sum + r * COLUMNS * LANES : NULL, \
     COLUMNS * LANES, sum + r * COLUMNS * LANES, COLUMNS * LANES, KEPT)
                    if (columns == 1) { /* enough sums to hide the time that each takes */
                        TILE(2 * ROWS, 1, 0);
                    } else if (columns == 2) {
                        TILE(ROWS, 2, 0);
                        TILE(ROWS, 2, ROWS);
                    } else {
                        TILE(ROWS, 3, 0);
                        TILE(ROWS, 3, ROWS);
                    }
#undef TILE
                }
                if (dw) NAME(outer)(x_panels, y_panels, dw, M, N, k + row, n, n + depth);
            }
        }
        for (size_t v = 0, part = 0; v < vectors; v++) {
            if (v == vectors * (part + 1) / parts) part++;
            size_t m = v * LANES, first = (v - vectors * part / parts) * LANES;
            for (size_t r = 0; r < TILES * ROWS; r += LANES) {
                vec rows[LANES];
                UNROLL for (size_t i = 0; i < LANES; i++) rows[i] = load(sums[part][r + i] + first);
                NAME(turn)(rows);
                for (size_t i = 0; i < LANES && m + i < M; i++) {
                    size_t at = (m + i) * x_row + k + r;
                    if (add) rows[i] += load(add + at);
                    if (mask) rows[i] = (vec)((bits)rows[i] & ~(bits)(load(mask + at) <= 0));
                    store(x + at, rows[i]);
                }
            }
        }
    }
}

/* dx_MK = dy_MN w_KN^T, zero where mask_MK is not positive unless that is NULL, and
   dw_KN = x_MK^T dy_MN; the scratch memory is for dy, twice, and x. */
INLINE void NAME(gradients)(
    const float *dy, const float *w, const float *x, float *dx, float *dw, size_t M, size_t K,
    size_t N, const float *mask, float *scratch) {
    size_t padded = (M + LANES - 1) / LANES * LANES;
    float *dy_panels = scratch + padded * N, *x_panels = dy_panels + padded * N;
    NAME(transpose)(dy, N, scratch, M, 0, N);
    for (size_t n = 0; n < N; n += COLUMNS * LANES)
        NAME(pack)(dy + n, N, dy_panels + n * M, M, min(COLUMNS, (N - n) / LANES));
    NAME(pack_rows)(x, x_panels, M, K);
    NAME(product_t)(scratch, w, dx, K, M, K, N, mask, NULL, x_panels, dy_panels, dw);
}

TARGET static int NAME(forward)(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows, first = group->first;
    size_t weight = group->expert * D * H;
    const float *w_in = (const float *)task->w_in + weight;
    const float *w_out = (const float *)task->w_out + weight;
    float *hidden = task->hidden ? task->hidden + first * H : scratch, *more = scratch + M * H;
    NAME(product)(task->x + first * D, w_in, hidden, M, D, H, 1, more);
    drop(task, group, hidden);
    NAME(product)(hidden, w_out, task->y + first * D, M, H, D, 0, more);
    return 0;
}

TARGET static int NAME(backward)(const Task *task, const Group *group, float *scratch) {
    size_t D = task->dim, H = task->hidden_dim, M = group->rows, first = group->first;
    size_t weight = group->expert * D * H, padded = (M + LANES - 1) / LANES * LANES;
    const float *x = task->x + first * D, *dy = task->dy + first * D;
    const float *w_in = (const float *)task->w_in + weight;
    const float *w_out = (const float *)task->w_out + weight;
    float *hidden = task->hidden ? task->hidden + first * H : scratch;
    float *dhidden = scratch + padded * H, *more = dhidden + padded * H;
    if (!task->hidden) {
        NAME(product)(x, w_in, hidden, M, D, H, 1, dhidden);
        drop(task, group, hidden);
    }
    float *dw_in = (float *)task->dw_in + weight, *dw_out = (float *)task->dw_out + weight;
    NAME(gradients)(dy, w_out, hidden, dhidden, dw_out, M, H, D, hidden, more);
    drop_backward(task, group, dhidden);
    NAME(gradients)(dhidden, w_in, x, task->dx + first * D, dw_in, M, D, H, NULL, more);
    return 0;
}

/* A share of the rows of w, and of what is written of y, from the transposed x. */
TARGET static void NAME(linear)(const Linear *task, const float *x_KM, size_t from, size_t to) {
    NAME(product_t)(
        x_KM, task->w + from * task->dim_in, task->y + from, task->y_row, task->rows, to - from,
        task->dim_in, NULL, task->add ? task->add + from : NULL, NULL, NULL, NULL);
}

TARGET static void NAME(rows)(const Linear *task, float *x_KM, size_t from, size_t to) {
    NAME(transpose)(task->x, task->x_row, x_KM, task->rows, from, to);
}

#undef NAME
#undef TARGET
#undef LANES
#undef ROWS
#undef STREAM
#undef COLUMNS
#undef TILES
#undef NEAR
#undef DEPTH
#undef LINES
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
