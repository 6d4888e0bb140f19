/* The label-smoothed cross entropy of rows of logits: one pass for the losses and one for the
   gradient, where a library's softmax, logarithm and sums would take eight. */

#include "product.h"

/* logits and gradients are [rows, columns] float32, by rows; what is one number a row is [rows].
   Rows whose target is negative count nothing. */
typedef struct {
    long rows, columns, threads;
    const float *logits;
    const int64_t *target;
    float *logsumexp, *nll, *all; /* of a row: -log p of the target, and the sum of all -log p */
    float scale, correct, other;
    float *gradient; /* scale (p - other), and less by scale * correct at the target */
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
    __m512 scale = number(target < 0 ? 0 : task->scale), other = number(task->other);
    __m512 log_sum = number(task->logsumexp[row]);
    for (long i = 0; i < columns; i += 16) {
        __mmask16 mask = MASK(i, columns);
        __m512 here = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), log_sum);
        __m512 p = _mm512_sub_ps(exponential(here), other);
        _mm512_mask_storeu_ps(gradient + i, mask, _mm512_mul_ps(scale, p));
    }
    if (target >= 0) gradient[target] -= task->scale * task->correct;
}

void losses(const Loss *task) {
#pragma omp parallel for num_threads(task->threads) schedule(dynamic, 4) if (task->threads > 1)
    for (long row = 0; row < task->rows; row++) loss_of(task, row);
}

void loss_gradients(const Loss *task) {
#pragma omp parallel for num_threads(task->threads) schedule(dynamic, 4) if (task->threads > 1)
    for (long row = 0; row < task->rows; row++) gradient_of(task, row);
}
#else
void losses(const Loss *task) {}
void loss_gradients(const Loss *task) {}
#endif
