/* The label-smoothed cross entropy of rows of logits: one pass for the losses and one for the
   gradient, where a library's softmax, logarithm and sums would take eight. And how far the
   distributions of two rows are apart: one pass more. */

#include "product.h"
#include <string.h>

/* logits and gradients are [rows, columns] float32, by rows; what is one number a row is [rows].
   Rows whose target is negative count nothing. */
typedef struct {
    long rows, columns, threads;
    const float *logits;
    const int64_t *target;
    float *logsumexp, *nll, *all; /* of a row: -log p of the target, and the sum of all -log p */
    float scale, correct, other;
    float *gradient; /* scale (p - other), and less by scale * correct at the target */
    /* Of a row, KL(p || q) where q is that of its pair; or NULL. Of 2 steps rows at a time, those
       that are steps apart, which have one target, are a pair; the gradient then gets `apart` times
       that of KL(p || q) + KL(q || p), too. */
    float *divergence, apart;
    long steps;
} Loss;

#if defined(__x86_64__)
#include "functions.h"

TARGET static void loss_of(const Loss *task, long row) {
    const float *x = task->logits + row * task->columns;
    long columns = task->columns, target = task->target[row];
    if (target < 0) {
        task->nll[row] = task->all[row] = task->logsumexp[row] = 0;
        return;
    }
    __m512 most = number(-__builtin_inff()), total = number(0), sum = number(0);
    for (long i = 0; i < columns; i += 16) {
        __mmask16 mask = MASK(i, columns);
        __m512 here = _mm512_maskz_loadu_ps(mask, x + i);
        most = _mm512_mask_max_ps(most, mask, most, here);
        total = _mm512_add_ps(total, here);
    }
    __m512 top = number(_mm512_reduce_max_ps(most));
    for (long i = 0; i < columns; i += 16) {
        __mmask16 mask = MASK(i, columns);
        __m512 e = exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), top));
        sum = _mm512_mask_add_ps(sum, mask, sum, e);
    }
    float log_sum = __builtin_logf(_mm512_reduce_add_ps(sum)) + _mm512_cvtss_f32(top);
    task->logsumexp[row] = log_sum;
    task->nll[row] = log_sum - x[target];
    task->all[row] = columns * log_sum - _mm512_reduce_add_ps(total);
}

TARGET static void gradient_of(const Loss *task, long row) {
    const float *x = task->logits + row * task->columns;
    float *gradient = task->gradient + row * task->columns;
    long columns = task->columns, target = task->target[row];
    if (target < 0) { /* p of its logits has no meaning, and may be infinite */
        memset(gradient, 0, columns * sizeof *gradient);
        return;
    }
    __m512 scale = number(task->scale), other = number(task->other);
    __m512 log_sum = number(task->logsumexp[row]);
    for (long i = 0; i < columns; i += 16) {
        __mmask16 mask = MASK(i, columns);
        __m512 here = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), log_sum);
        __m512 p = _mm512_sub_ps(exponential(here), other);
        _mm512_mask_storeu_ps(gradient + i, mask, _mm512_mul_ps(scale, p));
    }
    gradient[target] -= task->scale * task->correct;
}

TARGET static void divergences_of(const Loss *task, long row) {
    long columns = task->columns, pair = row + task->steps;
    const float *x = task->logits + row * columns, *y = task->logits + pair * columns;
    __m512 log_x = number(task->logsumexp[row]), log_y = number(task->logsumexp[pair]);
    __m512 from_x = number(0), from_y = number(0);
    if (task->target[row] >= 0)
        for (long i = 0; i < columns; i += 16) {
            __mmask16 mask = MASK(i, columns);
            __m512 log_p = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), log_x);
            __m512 log_q = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, y + i), log_y);
            __m512 apart = _mm512_sub_ps(log_p, log_q);
            from_x = _mm512_mask3_fmadd_ps(exponential(log_p), apart, from_x, mask);
            from_y = _mm512_mask3_fnmadd_ps(exponential(log_q), apart, from_y, mask);
        }
    task->divergence[row] = _mm512_reduce_add_ps(from_x);
    task->divergence[pair] = _mm512_reduce_add_ps(from_y);
}

/* What the divergences of a pair add to its gradients. */
TARGET static void divergence_gradients_of(const Loss *task, long row) {
    long columns = task->columns, pair = row + task->steps;
    const float *x = task->logits + row * columns, *y = task->logits + pair * columns;
    float *dx = task->gradient + row * columns, *dy = task->gradient + pair * columns;
    __m512 log_x = number(task->logsumexp[row]), log_y = number(task->logsumexp[pair]);
    __m512 from_x = number(task->divergence[row]), from_y = number(task->divergence[pair]);
    __m512 weight = number(task->apart);
    if (task->target[row] < 0) return;
    for (long i = 0; i < columns; i += 16) {
        __mmask16 mask = MASK(i, columns);
        __m512 log_p = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), log_x);
        __m512 log_q = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, y + i), log_y);
        __m512 p = exponential(log_p), q = exponential(log_q), more = _mm512_sub_ps(p, q);
        __m512 apart = _mm512_sub_ps(log_p, log_q);
        __m512 to_x = _mm512_fmadd_ps(p, _mm512_sub_ps(apart, from_x), more);
        __m512 to_y = _mm512_fmadd_ps(q, _mm512_add_ps(apart, from_y), more);
        __m512 here = _mm512_maskz_loadu_ps(mask, dx + i);
        __m512 there = _mm512_maskz_loadu_ps(mask, dy + i);
        _mm512_mask_storeu_ps(dx + i, mask, _mm512_fmadd_ps(weight, to_x, here));
        _mm512_mask_storeu_ps(dy + i, mask, _mm512_fnmadd_ps(weight, to_y, there));
    }
}

#define EACH(row, rows) \
    _Pragma("omp parallel for num_threads(task->threads) schedule(dynamic, 4)") \
    for (long row = 0; row < (rows); row++)

/* The first row of a pair. */
static long first_of(const Loss *task, long number) {
    return number + number / task->steps * task->steps;
}

void losses(const Loss *task) {
    EACH(row, task->rows) loss_of(task, row);
    if (task->divergence) EACH(number, task->rows / 2) divergences_of(task, first_of(task, number));
}

void loss_gradients(const Loss *task) {
    if (!task->divergence) {
        EACH(row, task->rows) gradient_of(task, row);
        return;
    }
    EACH(number, task->rows / 2) {
        long row = first_of(task, number);
        gradient_of(task, row);
        gradient_of(task, row + task->steps);
        divergence_gradients_of(task, row);
    }
}
#else
void losses(const Loss *task) {}
void loss_gradients(const Loss *task) {}
#endif
