/* Matrix products of this package's own, for AVX-512: float32, or bfloat16 with float32 sums.

   The library that torch calls is made for one maker's processors; elsewhere it leaves more than
   half of the speed. Operands are packed into panels whose parts lie in the order in which tiles of
   14 x 32 sums, which stay in registers, read them; with AMX, of 32 x 32. A unit of a panel is 4
   bytes: a float32, or two bfloat16 of neighbouring steps. */

#ifndef NMT_MOE_PRODUCT_H
#define NMT_MOE_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

enum number { FLOAT32, BFLOAT16 };

/* Numbers of a type, lines (rows of a product's first operand, columns of its second) `line` numbers
   apart, steps of the sum `step` apart. One of the two is 1. */
typedef struct {
    const void *at;
    long line, step;
    int type;
} Operand;

/* A matrix by rows, which are lines, `row` numbers apart. */
static inline Operand by_rows(const void *at, long row, int type) {
    return (Operand){at, row, 1, type};
}

/* The same with lines as steps and steps as lines. */
static inline Operand transposed(Operand x) { return (Operand){x.at, x.step, x.line, x.type}; }

/* Where a number of it is, by its place in memory. */
static inline const void *numbers_at(const void *first, size_t number, int type) {
    return (const char *)first + number * (type == FLOAT32 ? 4 : 2);
}

/* c = a b + add. a has m lines and b has n, each of k numbers. Rows of c are c_row apart, those of
   add, which may be NULL or c, add_row: 0 for one row that is added to all. `precision` is that of
   the factors; c and add are float32. */
typedef struct {
    Operand a, b;
    long m, n, k;
    const float *add;
    long add_row;
    float *c;
    long c_row;
    int precision;
} Product;

/* What this machine can, and what products of bfloat16 use; without a call that is not AMX, as a
   process may announce it and end by it. */
enum instructions { NOTHING, AVX512, AVX512_BF16, AMX };
int products_instructions(void);
void products_use(int instructions);

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long rounded_up(long n, long to) { return (n + to - 1) / to * to; }

#define LINES 32 /* of a panel of the second operand: two vectors */

/* The units that all panels of the first operand's rows take, and all of the second's columns. */
size_t rows_units(long m, long k, int precision);
size_t columns_units(long n, long k, int precision);

/* Write the panels of rows from step `from` to the one before `end`; both are multiples of LINES, or
   `end` is k.
   Different parts may be written by different threads. */
void pack_rows(const Operand *a, long m, long k, int precision, long from, long end, uint32_t *to);

/* Write the panels of columns n to the one before end; n is a multiple of LINES. */
void pack_columns(
    const Operand *b, long columns, long k, int precision, long n, long end, uint32_t *to);

/* Columns n to the one before end, n a multiple of LINES, of the packed product with m rows. */
typedef struct {
    const uint32_t *a, *b;
    long m, k;
    int precision;
} Panels;
void multiply(
    const Panels *panels, const float *add, long add_row, float *c, long c_row, long n, long end);

/* Round numbers to bfloat16, on a machine whose products can be in it. */
void round_bfloat16(const float *from, size_t count, uint16_t *to);

/* The whole product by so many threads. Returns 0, or 1 without memory. */
int product(const Product *task, long threads);

#endif
