/* The recurrence of an LSTM layer, with attention feedback or without, over all steps in one region
   of threads. Only what depends on the step before is computed here: the inputs' share of the gates
   and the gradients of weights are products over all steps.

   A step is a few phases with a barrier after each. A phase is divided by columns, of which each
   thread computes all that follows from them, and packs them for the next phase. */

#include "product.h"

#include <stdlib.h>
#include <string.h>

/* L steps, B rows, D the width, C cells, S source positions; M is D, or 2 D with attention. Numbers
   lie by rows and are float32; weights may be bfloat16. In a search several rows read one sentence
   of the source, of which there are Z. */
typedef struct {
    long steps, batch, dim, cells, positions, sentences, threads;
    int precision, attends, bounded; /* the last one: queries of a product, by a tangent */
    Operand w_recurrent, w_project, w_query; /* [4C, M]; [D, C] or NULL; [D, D] */
    const float *keys, *source, *v;          /* [Z, S, D], twice; [D], NULL: the keys have it */
    const unsigned char *padding;            /* [Z, S] */
    const float *inputs;                     /* [L, B, 4C], which gates may be */
    float *gates, *read, *c;                 /* [L, B, 4C], [L + 1, B, M], [L + 1, B, C] */
    float *tanh, *out;                       /* [L, B, C] */
    float *query, *weights;                  /* [L, B, D], [B, L, S] */
    /* [B, M], [L + 1, B, M]; or NULL: the gates read read, and not masked = read * mask. */
    const float *mask;
    float *masked;
    /* Of the backward pass: dread and dc (of the last step) go in and out. */
    float *dread, *dc, *dgates, *dquery; /* [L + 1, B, M], [B, C], [L, B, 4C], [L, B, D] */
    const float *dweights;               /* [B, L, S] or NULL */
    float *dscores, *dkeys, *dv;         /* [B, L, S]; where v is: [B, S, D], [B, D] */
} Recurrence;

#if defined(__x86_64__)
#include "functions.h"

#define GATES 4
#define load(p, mask) _mm512_maskz_loadu_ps(mask, p)
#define store(p, mask, v) _mm512_mask_storeu_ps(p, mask, v)
#define FOR_VECTORS(i, n) for (long i = 0; i < (n); i += 16)

/* What the phases share: panels of weights and of the rows that they multiply. */
typedef struct {
    uint32_t *recurrent[GATES][2], *project, *query; /* of the output, then of the context */
    uint32_t *h, *masked, *context, *out, *gates[GATES], *dquery;
    uint32_t *memory;
} Shared;

/* How many columns a thread takes at a time. */
static long share(long n, long threads) {
    return rounded_up((n + 4 * threads - 1) / (4 * threads), LINES);
}

TARGET static void cell(const Recurrence *r, long t, long from, long end) {
    for (long b = 0; b < r->batch; b++) {
        float *gates = r->gates + (t * r->batch + b) * GATES * r->cells;
        const float *before = r->c + (t * r->batch + b) * r->cells;
        float *after = r->c + ((t + 1) * r->batch + b) * r->cells;
        float *tanh = r->tanh + (t * r->batch + b) * r->cells;
        float *out = r->out + (t * r->batch + b) * r->cells;
        FOR_VECTORS(n, end - from) {
            __mmask16 mask = MASK(n, end - from);
            long i = from + n;
            float *at[GATES] = {gates + i, gates + r->cells + i, gates + 2 * r->cells + i,
                                gates + 3 * r->cells + i};
            __m512 in = logistic(load(at[0], mask)), forget = logistic(load(at[1], mask));
            __m512 new = hyperbolic_tangent(load(at[2], mask)), open = logistic(load(at[3], mask));
            __m512 cells = _mm512_fmadd_ps(in, new, _mm512_mul_ps(forget, load(before + i, mask)));
            __m512 bounded = hyperbolic_tangent(cells);
            store(at[0], mask, in);
            store(at[1], mask, forget);
            store(at[2], mask, new);
            store(at[3], mask, open);
            store(after + i, mask, cells);
            store(tanh + i, mask, bounded);
            store(out + i, mask, _mm512_mul_ps(open, bounded));
        }
    }
}

/* From the gradient of the output before its projection, dout [B, C]. */
TARGET static void cell_backward(
    const Recurrence *r, long t, const float *dout_BC, long dout_row, long from, long end) {
    __m512 one = number(1);
    for (long b = 0; b < r->batch; b++) {
        long row = (t * r->batch + b) * r->cells;
        const float *gates = r->gates + GATES * row, *before = r->c + row, *tanh = r->tanh + row;
        float *dgates = r->dgates + GATES * row, *dc = r->dc + b * r->cells;
        const float *dout = dout_BC + b * dout_row;
        FOR_VECTORS(n, end - from) {
            __mmask16 mask = MASK(n, end - from);
            long i = from + n, C = r->cells;
            __m512 in = load(gates + i, mask), forget = load(gates + C + i, mask);
            __m512 new = load(gates + 2 * C + i, mask), open = load(gates + 3 * C + i, mask);
            __m512 bounded = load(tanh + i, mask), gradient = load(dout + n, mask);
            __m512 dopen = _mm512_mul_ps(gradient, bounded);
            __m512 slope = _mm512_fnmadd_ps(bounded, bounded, one);
            __m512 dcells = _mm512_fmadd_ps(
                _mm512_mul_ps(gradient, open), slope, load(dc + i, mask));
            __m512 din = _mm512_mul_ps(dcells, new), dnew = _mm512_mul_ps(dcells, in);
            __m512 dforget = _mm512_mul_ps(dcells, load(before + i, mask));
#define LOGISTIC(d, y) _mm512_mul_ps(d, _mm512_mul_ps(y, _mm512_sub_ps(one, y)))
            store(dgates + i, mask, LOGISTIC(din, in));
            store(dgates + C + i, mask, LOGISTIC(dforget, forget));
            store(dgates + 2 * C + i, mask, _mm512_mul_ps(dnew, _mm512_fnmadd_ps(new, new, one)));
            store(dgates + 3 * C + i, mask, LOGISTIC(dopen, open));
            store(dc + i, mask, _mm512_mul_ps(dcells, forget));
        }
    }
}

TARGET static float dot(const float *a, const float *b, long n) {
    __m512 sum = number(0);
    FOR_VECTORS(i, n) sum = _mm512_fmadd_ps(load(a + i, MASK(i, n)), load(b + i, MASK(i, n)), sum);
    return _mm512_reduce_add_ps(sum);
}

/* y += a x */
TARGET static void add_to(float *y, float a, const float *x, long n) {
    FOR_VECTORS(i, n) {
        __mmask16 mask = MASK(i, n);
        store(y + i, mask, _mm512_fmadd_ps(number(a), load(x + i, mask), load(y + i, mask)));
    }
}

TARGET static void softmax(float *x, const unsigned char *padding, long n) {
    float most = -__builtin_inff(), sum = 0;
    for (long i = 0; i < n; i++) {
        if (padding[i]) x[i] = -__builtin_inff();
        most = x[i] > most || x[i] != x[i] ? x[i] : most;
    }
    FOR_VECTORS(i, n) {
        __mmask16 mask = MASK(i, n);
        store(x + i, mask, exponential(_mm512_sub_ps(load(x + i, mask), number(most))));
        sum += _mm512_mask_reduce_add_ps(mask, load(x + i, mask));
    }
    for (long i = 0; i < n; i++) x[i] = padding[i] ? 0 : x[i] / sum; /* of padding only: all 0 */
}

/* The weights and the context of a row. */
TARGET static void attend(const Recurrence *r, long t, long b) {
    long D = r->dim, S = r->positions, sentence = b / (r->batch / r->sentences);
    const float *query = r->query + (t * r->batch + b) * D, *keys = r->keys + sentence * S * D;
    float *weights = r->weights + (b * r->steps + t) * S;
    float *context = r->read + (t * r->batch + b) * 2 * D, bounded[D];
    if (!r->v)
        FOR_VECTORS(i, D) {
            __m512 x = load(query + i, MASK(i, D));
            store(bounded + i, MASK(i, D), r->bounded ? hyperbolic_tangent(x) : x);
        }
    for (long s = 0; s < S; s++) {
        if (!r->v) {
            weights[s] = dot(keys + s * D, bounded, D);
            continue;
        }
        __m512 sum = number(0);
        FOR_VECTORS(i, D) {
            __mmask16 mask = MASK(i, D);
            __m512 x = _mm512_add_ps(load(keys + s * D + i, mask), load(query + i, mask));
            sum = _mm512_fmadd_ps(hyperbolic_tangent(x), load(r->v + i, mask), sum);
        }
        weights[s] = _mm512_reduce_add_ps(sum);
    }
    softmax(weights, r->padding + sentence * S, S);
    memset(context, 0, D * sizeof(float));
    for (long s = 0; s < S; s++) add_to(context, weights[s], r->source + (sentence * S + s) * D, D);
}

/* The gradient of the query of a sentence, and of its scores, from that of the context. */
TARGET static void attend_backward(const Recurrence *r, long t, long b) {
    long D = r->dim, S = r->positions;
    const float *query = r->query + (t * r->batch + b) * D, *keys = r->keys + b * S * D;
    const float *weights = r->weights + (b * r->steps + t) * S;
    const float *dcontext = r->dread + (t * r->batch + b) * 2 * D;
    float *dscores = r->dscores + (b * r->steps + t) * S, mean = 0;
    float *dquery = r->dquery + (t * r->batch + b) * D;
    for (long s = 0; s < S; s++) {
        dscores[s] = dot(r->source + (b * S + s) * D, dcontext, D);
        if (r->dweights) dscores[s] += r->dweights[(b * r->steps + t) * S + s];
        mean += weights[s] * dscores[s];
    }
    memset(dquery, 0, D * sizeof(float));
    for (long s = 0; s < S; s++) {
        dscores[s] = weights[s] * (dscores[s] - mean);
        if (!r->v) {
            add_to(dquery, dscores[s], keys + s * D, D);
            continue;
        }
        float *dkeys = r->dkeys + (b * S + s) * D, *dv = r->dv + b * D;
        FOR_VECTORS(i, D) {
            __mmask16 mask = MASK(i, D);
            __m512 x = _mm512_add_ps(load(keys + s * D + i, mask), load(query + i, mask));
            __m512 y = hyperbolic_tangent(x), score = number(dscores[s]);
            store(dv + i, mask, _mm512_fmadd_ps(score, y, load(dv + i, mask)));
            __m512 dx = _mm512_mul_ps(_mm512_mul_ps(score, load(r->v + i, mask)),
                                      _mm512_fnmadd_ps(y, y, number(1)));
            store(dkeys + i, mask, _mm512_add_ps(load(dkeys + i, mask), dx));
            store(dquery + i, mask, _mm512_add_ps(load(dquery + i, mask), dx));
        }
    }
    if (!r->v && r->bounded)
        FOR_VECTORS(i, D) {
            __mmask16 mask = MASK(i, D);
            __m512 y = hyperbolic_tangent(load(query + i, mask));
            __m512 slope = _mm512_fnmadd_ps(y, y, number(1));
            store(dquery + i, mask, _mm512_mul_ps(load(dquery + i, mask), slope));
        }
}

/* Columns n to the one before end of what step t reads, by the mask. */
TARGET static void apply_mask(const Recurrence *r, long t, long n, long end) {
    long M = r->dim * (1 + r->attends);
    for (long b = 0; b < r->batch; b++) {
        long row = (t * r->batch + b) * M + n;
        const float *read = r->read + row, *mask = r->mask + b * M + n;
        FOR_VECTORS(i, end - n) {
            __mmask16 some = MASK(i, end - n);
            store(r->masked + row + i, some, _mm512_mul_ps(load(read + i, some), load(mask + i, some)));
        }
    }
}

/* Add columns n to the one before end of a part's gradient, by the mask; the columns of `from`,
   whose rows are from_row apart, begin at n. */
TARGET static void add_masked(
    const Recurrence *r, float *to, const float *mask, const float *from, long from_row, long n,
    long end) {
    long M = r->dim * (1 + r->attends);
    for (long b = 0; b < r->batch; b++)
        FOR_VECTORS(i, end - n) {
            __mmask16 some = MASK(i, end - n);
            long at = b * M + n + i;
            __m512 sum = _mm512_fmadd_ps(
                load(from + b * from_row + i, some), load(mask + at, some), load(to + at, some));
            store(to + at, some, sum);
        }
}

/* Memory for all panels, as one piece. */
static int reserve(const Recurrence *r, Shared *shared) {
    long D = r->dim, C = r->cells, B = r->batch;
    int precision = r->precision, parts = 1 + r->attends;
    size_t gate = columns_units(r->dread ? D : C, r->dread ? C : D, precision);
    size_t project = columns_units(r->dread ? C : D, r->dread ? D : C, precision);
    size_t query = columns_units(D, D, precision), row = rounded_up(rows_units(B, D, precision), 16);
    size_t wide = rounded_up(rows_units(B, C, precision), 16);
    size_t all = GATES * parts * gate + project + query + 4 * row + (1 + GATES) * wide;
    if (r->mask) all += 2 * row;
    uint32_t *next = shared->memory = aligned_alloc(64, rounded_up(all * sizeof(uint32_t), 64));
    if (!next) return 1;
#define TAKE(pointer, size) (pointer = next, next += rounded_up(size, 16))
    for (int g = 0; g < GATES; g++)
        for (int p = 0; p < parts; p++) TAKE(shared->recurrent[g][p], gate);
    TAKE(shared->project, project);
    TAKE(shared->query, query);
    TAKE(shared->h, 2 * row);
    shared->masked = shared->h;
    if (r->mask) TAKE(shared->masked, 2 * row);
    TAKE(shared->context, row);
    TAKE(shared->dquery, row);
    TAKE(shared->out, wide);
    for (int g = 0; g < GATES; g++) TAKE(shared->gates[g], wide);
#undef TAKE
    return 0;
}

/* The part of a gate's rows of w_recurrent that reads the output (0) or the context (1). */
static Operand recurrent_part(const Recurrence *r, int gate, int part) {
    long M = r->dim * (1 + r->attends), column = r->attends && !part ? r->dim : 0;
    Operand w = r->w_recurrent;
    w.at = numbers_at(w.at, gate * r->cells * M + column, w.type);
    w.line = M, w.step = 1;
    return w;
}

/* Pack columns n to the one before end of the output that step t reads, for the query and, by the
   mask, for the gates. Where there is no mask both are one. */
static void pack_output(
    const Recurrence *r, long t, long n, long end, uint32_t *h, uint32_t *masked) {
    long D = r->dim, M = D * (1 + r->attends), first = t * r->batch * M + M - D;
    Operand rows = by_rows(r->read + first, M, FLOAT32);
    if (r->attends || !r->mask) pack_rows(&rows, r->batch, D, r->precision, n, end, h);
    if (!r->mask) return;
    apply_mask(r, t, M - D + n, M - D + end);
    rows.at = r->masked + first;
    pack_rows(&rows, r->batch, D, r->precision, n, end, masked);
}

#define PARTS(n, i, step) \
    _Pragma("omp for schedule(dynamic)") for (long i = 0; i < (n); i += (step))

int recurrence_forward(const Recurrence *r) {
    Shared shared;
    if (reserve(r, &shared)) return 1;
    long D = r->dim, C = r->cells, B = r->batch, M = D * (1 + r->attends), parts = 1 + r->attends;
    long few = share(C, r->threads), wide = share(D, r->threads);
    int precision = r->precision, projects = r->w_project.at != NULL;
    size_t other = rounded_up(rows_units(B, D, precision), 16); /* h of odd steps, unprojected */
    Operand w_project = {r->w_project.at, C, 1, r->w_project.type};
    Operand w_query = {r->w_query.at, D, 1, r->w_query.type};
#pragma omp parallel num_threads(r->threads) if (r->threads > 1)
    {
        PARTS(C, n, LINES)
        for (int g = 0; g < GATES; g++)
            for (int p = 0; p < parts; p++) {
                Operand w = recurrent_part(r, g, p);
                pack_columns(&w, C, D, precision, n, n + LINES, shared.recurrent[g][p]);
            }
        PARTS(D, n, LINES) {
            if (projects) pack_columns(&w_project, D, C, precision, n, n + LINES, shared.project);
            if (r->attends) pack_columns(&w_query, D, D, precision, n, n + LINES, shared.query);
            pack_output(r, 0, n, least(n + LINES, D), shared.h, shared.masked);
        }
        for (long t = 0; t < r->steps; t++) {
            const float *read = r->read + t * B * M;
            float *h = r->read + (t + 1) * B * M + M - D;
            float *gates = r->gates + t * B * GATES * C, *out = r->out + t * B * C;
            const float *inputs = r->inputs + t * B * GATES * C;
            size_t now = projects || t % 2 == 0 ? 0 : other, next = projects || t % 2 ? 0 : other;
            if (r->attends) {
                PARTS(D, n, wide) {
                    Panels of = {shared.h + now, shared.query, B, D, precision};
                    multiply(&of, NULL, 0, r->query + t * B * D, D, n, least(n + wide, D));
                }
                PARTS(B, b, 1) attend(r, t, b);
                Operand context = by_rows(r->mask ? r->masked + t * B * M : read, M, FLOAT32);
                PARTS(D, n, LINES) {
                    long end = least(n + LINES, D);
                    if (r->mask) apply_mask(r, t, n, end);
                    pack_rows(&context, B, D, precision, n, end, shared.context);
                }
            }
            PARTS(C, n, few) {
                long end = least(n + few, C);
                for (int g = 0; g < GATES; g++) {
                    Panels of = {shared.masked + now, shared.recurrent[g][0], B, D, precision};
                    multiply(&of, inputs + g * C, GATES * C, gates + g * C, GATES * C, n, end);
                    if (!r->attends) continue;
                    of.a = shared.context, of.b = shared.recurrent[g][1];
                    multiply(&of, gates + g * C, GATES * C, gates + g * C, GATES * C, n, end);
                }
                cell(r, t, n, end);
                if (projects) {
                    Operand rows = by_rows(out, C, FLOAT32);
                    pack_rows(&rows, B, C, precision, n, end, shared.out);
                    continue;
                }
                for (long b = 0; b < B; b++)
                    memcpy(h + b * M + n, out + b * C + n, (end - n) * sizeof(float));
                pack_output(r, t + 1, n, end, shared.h + next, shared.masked + next);
            }
            if (projects)
                PARTS(D, n, wide) {
                    long end = least(n + wide, D);
                    Panels of = {shared.out, shared.project, B, C, precision};
                    multiply(&of, NULL, 0, h, M, n, end);
                    pack_output(r, t + 1, n, end, shared.h, shared.masked);
                }
        }
    }
    free(shared.memory);
    return 0;
}

int recurrence_backward(const Recurrence *r) {
    Shared shared;
    if (reserve(r, &shared)) return 1;
    long D = r->dim, C = r->cells, B = r->batch, M = D * (1 + r->attends), parts = 1 + r->attends;
    long few = share(C, r->threads), wide = share(D, r->threads);
    int precision = r->precision, projects = r->w_project.at != NULL;
    Operand w_project = {r->w_project.at, 1, C, r->w_project.type};
    Operand w_query = {r->w_query.at, 1, D, r->w_query.type};
    int failed = 0;
#pragma omp parallel num_threads(r->threads) if (r->threads > 1)
    {
        long most = few > wide ? few : wide;
        float *dout = aligned_alloc(64, rounded_up(B * most * sizeof(float) + 64, 64));
        if (!dout) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp barrier
        long steps = failed ? 0 : r->steps;
        PARTS(D, n, LINES) {
            for (int g = 0; g < GATES; g++)
                for (int p = 0; p < parts; p++) {
                    Operand w = transposed(recurrent_part(r, g, p));
                    pack_columns(&w, D, C, precision, n, n + LINES, shared.recurrent[g][p]);
                }
            if (r->attends) pack_columns(&w_query, D, D, precision, n, n + LINES, shared.query);
            Operand rows = by_rows(r->dread + r->steps * B * M + M - D, M, FLOAT32);
            pack_rows(&rows, B, D, precision, n, least(n + LINES, D), shared.h);
        }
        if (projects)
            PARTS(C, n, LINES)
        pack_columns(&w_project, C, D, precision, n, n + LINES, shared.project);
        for (long t = steps - 1; t >= 0; t--) {
            const float *dh_after = r->dread + (t + 1) * B * M + M - D;
            float *dread = r->dread + t * B * M, *dh = dread + M - D;
            PARTS(C, n, few) {
                long end = least(n + few, C);
                Panels of = {shared.h, shared.project, B, D, precision};
                if (projects) multiply(&of, NULL, 0, dout - n, few, n, end);
                cell_backward(r, t, projects ? dout : dh_after + n, projects ? few : M, n, end);
                for (int g = 0; g < GATES; g++) {
                    const float *dgates = r->dgates + t * B * GATES * C + g * C;
                    Operand rows = by_rows(dgates, GATES * C, FLOAT32);
                    pack_rows(&rows, B, C, precision, n, end, shared.gates[g]);
                }
            }
            PARTS(D, n, wide) {
                long end = least(n + wide, D);
                for (int p = 0; p < parts; p++) {
                    float *to = p ? dread : dh, *sum = r->mask ? dout - n : to;
                    long row = r->mask ? wide : M;
                    for (int g = 0; g < GATES; g++) {
                        Panels of = {shared.gates[g], shared.recurrent[g][p], B, C, precision};
                        multiply(&of, r->mask && !g ? NULL : sum, row, sum, row, n, end);
                    }
                    if (r->mask) add_masked(r, to, r->mask + (to - dread), dout, wide, n, end);
                }
                Operand rows = by_rows(dh, M, FLOAT32);
                if (!r->attends) pack_rows(&rows, B, D, precision, n, end, shared.h);
            }
            if (!r->attends) continue;
            PARTS(B, b, 1) attend_backward(r, t, b);
            Operand dquery = by_rows(r->dquery + t * B * D, D, FLOAT32);
            PARTS(D, n, LINES)
            pack_rows(&dquery, B, D, precision, n, least(n + LINES, D), shared.dquery);
            PARTS(D, n, wide) {
                long end = least(n + wide, D);
                Panels of = {shared.dquery, shared.query, B, D, precision};
                multiply(&of, dh, M, dh, M, n, end);
                Operand rows = by_rows(dh, M, FLOAT32);
                pack_rows(&rows, B, D, precision, n, end, shared.h);
            }
        }
        free(dout);
    }
    free(shared.memory);
    return failed;
}
#else
int recurrence_forward(const Recurrence *r) { return 1; }
int recurrence_backward(const Recurrence *r) { return 1; }
#endif
