/* The products in int8 for one instruction set, which int8.c chooses by

   NAME(name)       a name of its own for each function
   TARGET           the attribute that lets a function use these instructions
   LANES            sums in a vector
   ROWS, COLUMNS    a tile of ROWS x COLUMNS vectors, whose sums stay in registers
   DOT(sum, w, a)   sum + the products of four bytes of w, without sign, and of a, with sign */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES)));
typedef int NAME(ints) __attribute__((vector_size(4 * LANES), may_alias));
typedef signed char NAME(bytes) __attribute__((vector_size(LANES)));
typedef int NAME(unaligned_ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float NAME(unaligned) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef signed char NAME(unaligned_bytes)
    __attribute__((vector_size(LANES), aligned(1), may_alias));
#define vec NAME(vec)
#define ints NAME(ints)
#define load(p) (*(const NAME(unaligned) *)(p))
#define store(p, v) (*(NAME(unaligned) *)(p) = (v))

#define SELECT(condition, yes, no) (((yes) & (condition)) | ((no) & ~(condition)))
#define INLINE TARGET static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define FOR_TILE UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < COLUMNS; c++)

/* sums[r][n] = start[r] + the sum of a[r][k] w[n][k], of COLUMNS * LANES channels of a panel */
INLINE void NAME(tile)(
    int rows, size_t depth, const unsigned char *w, const signed char *a, size_t a_row,
    const int *start, int (*sums)[PANEL]) {
    ints sum[ROWS][COLUMNS];
    FOR_TILE sum[r][c] = (ints){0} + start[r];
    for (size_t k = 0; k < depth; k += 4) {
        ints line[COLUMNS];
        UNROLL for (int c = 0; c < COLUMNS; c++)
            line[c] = *(const NAME(unaligned_ints) *)(w + k * PANEL + c * 4 * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            ints four = (ints){0} + *(const FourBytes *)(a + r * a_row + k);
            UNROLL for (int c = 0; c < COLUMNS; c++) sum[r][c] = DOT(sum[r][c], line[c], four);
        }
    }
    FOR_TILE *(ints *)(sums[r] + c * LANES) = sum[r][c];
}

/* The whole panel of `number`, for `rows` rows from `first` on */
INLINE void NAME(panel)(
    const Weight *w, size_t number, const Rows *x, size_t first, int rows, int (*sums)[PANEL]) {
    const unsigned char *from = w->w + number * x->depth * PANEL;
    const signed char *a = x->a + first * x->stride;
    for (int n = 0; n < PANEL; n += COLUMNS * LANES) {
#define TILE(R) \
    NAME(tile) \
    (R, x->depth, from + 4 * n, a, x->stride, x->start + first, (int (*)[PANEL])(sums[0] + n))
        switch (rows) {
#if ROWS == 6
        case 6: TILE(6); break;
        case 5: TILE(5); break;
        case 4: TILE(4); break;
        case 3: TILE(3); break;
#endif
        case 2: TILE(2); break;
        default: TILE(1);
        }
#undef TILE
    }
}

/* y = the sums in float32, added to y */
INLINE void NAME(scale)(
    const Weight *w, size_t number, const Rows *x, size_t first, int rows, int (*sums)[PANEL],
    float (*y)[PANEL]) {
    const float *scale = w->scale + number * PANEL;
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < PANEL; n += LANES) {
            vec sum = __builtin_convertvector(*(const ints *)(sums[r] + n), vec);
            vec *out = (vec *)(y[r] + n);
            *out += sum * (x->scale[first + r] * load(scale + n));
        }
}

/* Rows from..to of x in int8, each with its own scale; columns that are not there are zeros. */
TARGET static void NAME(quantize)(
    const float *x, size_t x_row, size_t columns, const Rows *out, size_t from, size_t to) {
    const float magic = 12582912; /* 1.5 * 2^23: a float to which this is added is a whole number */
    size_t whole = columns / LANES * LANES;
    for (size_t m = from; m < to; m++) {
        const float *row = x + m * x_row;
        ints most = {0};
        for (size_t k = 0; k < whole; k += LANES) {
            ints size = (ints)load(row + k) & 0x7fffffff; /* ordered as the numbers are */
            most = SELECT(size > most, size, most);
        }
        int largest_size = 0; /* what is not finite is larger than all numbers */
        for (int i = 0; i < LANES; i++)
            largest_size = most[i] > largest_size ? most[i] : largest_size;
        for (size_t k = whole; k < columns; k++) {
            int size;
            memcpy(&size, row + k, sizeof(int));
            size &= 0x7fffffff;
            largest_size = size > largest_size ? size : largest_size;
        }
        float largest;
        memcpy(&largest, &largest_size, sizeof(float));
        /* The inverse of a smaller scale is no number. */
        float inverse = largest > 1e-30f ? 127 / largest : 0;
        signed char *to_row = out->a + m * out->stride;
        ints sum = {0};
        for (size_t k = 0; k < whole; k += LANES) {
            ints rounded = __builtin_convertvector(load(row + k) * inverse + magic - magic, ints);
            *(NAME(unaligned_bytes) *)(to_row + k) = __builtin_convertvector(rounded, NAME(bytes));
            sum += rounded;
        }
        int total = 0;
        for (int i = 0; i < LANES; i++) total += sum[i];
        for (size_t k = whole; k < out->stride; k++) {
            to_row[k] = k < columns ? (int)(row[k] * inverse + magic - magic) : 0;
            total += to_row[k];
        }
        out->scale[m] = largest / 127;
        out->start[m] = -128 * total;
    }
}

INLINE vec NAME(exp)(vec x) {
    const float magic = 12582912;
    x = (vec)SELECT(x > 87, (ints)((vec){0} + 87), (ints)x);
    x = (vec)SELECT(x < -87, (ints)((vec){0} - 87), (ints)x);
    vec n = x * 1.44269504f + magic - magic;
    x = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec y = x * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * x * x + x + 1;
    return y * (vec)((__builtin_convertvector(n, ints) + 127) << 23);
}

INLINE vec NAME(sigmoid)(vec x) { return 1 / (1 + NAME(exp)(-x)); }
INLINE vec NAME(tanh)(vec x) { return 1 - 2 / (1 + NAME(exp)(2 * x)); }

/* Panels from..to of y = x w^T + bias, and relu */
TARGET static void NAME(linear)(const Product *task, const Rows *x, size_t from, size_t to) {
    int sums[ROWS][PANEL] __attribute__((aligned(64)));
    float y[ROWS][PANEL] __attribute__((aligned(64)));
    size_t blocks = (task->rows + ROWS - 1) / ROWS;
    for (size_t number = from; number < to; number++)
        for (size_t block = 0; block < blocks; block++) {
            size_t first = task->rows * block / blocks;
            int rows = task->rows * (block + 1) / blocks - first;
            size_t columns = min(PANEL, task->columns - number * PANEL);
            memset(y, 0, sizeof(y));
            if (task->bias)
                for (int r = 0; r < rows; r++)
                    memcpy(y[r], task->bias + number * PANEL, sizeof(y[r]));
            NAME(panel)(task->w, number, x, first, rows, sums);
            NAME(scale)(task->w, number, x, first, rows, sums, y);
            if (task->relu)
                for (int r = 0; r < rows; r++)
                    for (int n = 0; n < PANEL; n++) y[r][n] = y[r][n] <= 0 ? 0 : y[r][n];
            for (int r = 0; r < rows; r++) {
                float *out = task->y + (first + r) * task->y_row + number * PANEL;
                if (columns == PANEL)
                    for (int n = 0; n < PANEL; n += LANES) store(out + n, *(vec *)(y[r] + n));
                else
                    for (size_t n = 0; n < columns; n++) out[n] = y[r][n];
            }
        }
}

/* Panels from..to of a step: the gates of CELLS cells each, from what the parts have to add to
   gates, and their cells and outputs */
TARGET static void NAME(cells)(const Cells *task, size_t from, size_t to) {
    int sums[ROWS][PANEL] __attribute__((aligned(64)));
    float gates[ROWS][PANEL] __attribute__((aligned(64)));
    size_t blocks = (task->rows + ROWS - 1) / ROWS;
    for (size_t number = from; number < to; number++)
        for (size_t block = 0; block < blocks; block++) {
            size_t first = task->rows * block / blocks;
            int rows = task->rows * (block + 1) / blocks - first;
            for (int r = 0; r < rows; r++)
                for (int n = 0; n < PANEL; n += LANES)
                    *(vec *)(gates[r] + n) =
                        load(task->add + (first + r) * task->add_row + number * PANEL + n);
            for (int part = 0; part < task->parts; part++) {
                NAME(panel)(task->w[part], number, task->x[part], first, rows, sums);
                NAME(scale)(task->w[part], number, task->x[part], first, rows, sums, gates);
            }
            for (int r = 0; r < rows; r++) {
                float *cells = task->cells + (first + r) * task->count + number * CELLS;
                float *out = task->out + (first + r) * task->out_row + number * CELLS;
                size_t count = min(CELLS, task->count - number * CELLS);
                float c[CELLS] __attribute__((aligned(64))) = {0};
                for (size_t n = 0; n < count; n++) c[n] = cells[n];
                for (int n = 0; n < CELLS; n += LANES) {
                    vec i = NAME(sigmoid)(*(vec *)(gates[r] + n));
                    vec f = NAME(sigmoid)(*(vec *)(gates[r] + CELLS + n));
                    vec g = NAME(tanh)(*(vec *)(gates[r] + 2 * CELLS + n));
                    vec o = NAME(sigmoid)(*(vec *)(gates[r] + 3 * CELLS + n));
                    vec new = f * *(vec *)(c + n) + i * g;
                    *(vec *)(c + n) = new;
                    store(out + n, o * NAME(tanh)(new));
                }
                for (size_t n = 0; n < count; n++) cells[n] = c[n];
            }
        }
}

INLINE float NAME(sum)(vec v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

/* The softmax over the source of one query, and the context; additive where there is v */
TARGET static void NAME(attend)(const Attention *task, float *query, size_t m) {
    size_t D = task->dim, S = task->length, whole = D / LANES * LANES, sentence = m / task->each;
    const unsigned char *pad = task->pad + sentence * S;
    float *weights = task->weights + m * task->weights_row, *context = task->context + m * D;
    if (!task->v && task->bounded) {
        float rest[LANES] = {0};
        for (size_t d = 0; d < whole; d += LANES) store(query + d, NAME(tanh)(load(query + d)));
        memcpy(rest, query + whole, (D - whole) * sizeof(float));
        store(rest, NAME(tanh)(load(rest)));
        memcpy(query + whole, rest, (D - whole) * sizeof(float));
    }
    float largest = -INFINITY;
    for (size_t s = 0; s < S; s++) {
        if (pad[s]) continue;
        const float *key = task->keys + sentence * task->keys_row + s * task->keys_step;
        vec sums = {0};
        float rest[2][LANES] = {{0}}, v_rest[LANES] = {0};
        memcpy(rest[0], key + whole, (D - whole) * sizeof(float));
        memcpy(rest[1], query + whole, (D - whole) * sizeof(float));
        if (task->v) {
            memcpy(v_rest, task->v + whole, (D - whole) * sizeof(float));
            for (size_t d = 0; d < whole; d += LANES)
                sums += NAME(tanh)(load(key + d) + load(query + d)) * load(task->v + d);
            sums += NAME(tanh)(load(rest[0]) + load(rest[1])) * load(v_rest);
        } else {
            for (size_t d = 0; d < whole; d += LANES) sums += load(key + d) * load(query + d);
            sums += load(rest[0]) * load(rest[1]);
        }
        weights[s] = NAME(sum)(sums);
        largest = weights[s] > largest ? weights[s] : largest;
    }
    float total = 0;
    for (size_t s = 0; s < S; s++) {
        weights[s] = pad[s] ? 0 : NAME(exp)((vec){0} + (weights[s] - largest))[0];
        total += weights[s];
    }
    memset(context, 0, D * sizeof(float));
    for (size_t s = 0; s < S; s++) {
        if (pad[s]) continue; /* of a sentence of padding only the context is 0 */
        weights[s] /= total;
        const float *source = task->source + sentence * task->source_row + s * task->source_step;
        for (size_t d = 0; d < whole; d += LANES)
            store(context + d, load(context + d) + weights[s] * load(source + d));
        for (size_t d = whole; d < D; d++) context[d] += weights[s] * source[d];
    }
}

#undef NAME
#undef TARGET
#undef LANES
#undef ROWS
#undef COLUMNS
#undef DOT
#undef vec
#undef ints
#undef load
#undef store
#undef SELECT
#undef INLINE
#undef UNROLL
#undef FOR_TILE
