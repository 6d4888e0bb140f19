#include "product.h"

#include <stdlib.h>
#include <string.h>

#define ROWS 14   /* of a panel of the first operand, at most; */
#define AMX_ROWS 32 /* and for AMX */
#define BLOCK 16  /* units of a line that AMX multiplies at a time */
#define DEPTH 256 /* units of a sum between two visits of c: a panel of 32 KiB */
#define MOST_ROWS 512 /* of a tile of c, and its columns: what is packed fits in the cache */
#define MOST_COLUMNS 512
#define TOGETHER 4 /* panels of the second operand that are packed at a time */

static int in_use; /* of the instructions: products_use */
static inline int by_amx(int precision) { return precision == BFLOAT16 && in_use == AMX; }

/* The units of k numbers of a line; AMX reads whole blocks. */
static inline long units(long k, int precision) {
    long number = precision == BFLOAT16 ? (k + 1) / 2 : k;
    return by_amx(precision) ? rounded_up(number, BLOCK) : number;
}

/* AMX reads 16 rows where there are fewer. */
size_t rows_units(long m, long k, int precision) {
    return m * units(k, precision) + (by_amx(precision) ? 16 * BLOCK : 16);
}

size_t columns_units(long n, long k, int precision) {
    return rounded_up(n, LINES) * units(k, precision);
}

/* The panels of m rows, and the first row of the p-th: all have the same number, or one more. */
static inline long panels_of(long m, int precision) {
    long most = by_amx(precision) ? AMX_ROWS : ROWS;
    return (m + most - 1) / most;
}
static inline long first_row(long m, long p, long panels) { return m * p / panels; }

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16")))
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

#if defined(__linux__) && (__has_include(<amxbf16intrin.h>) || __has_include(<amxintrin.h>))
#define HAS_AMX
#define TARGET_AMX \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16,amx-tile,amx-bf16")))
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether there are tiles, and the system grants this process their registers. */
static int tiles_granted(void) {
    const unsigned wanted = 1u << 22 | 1u << 24; /* AMX-BF16 and AMX-TILE */
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & wanted) != wanted) return 0;
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */) == 0;
}
#endif

int products_instructions(void) {
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) return NOTHING;
    if (!__builtin_cpu_supports("avx512bf16")) return AVX512;
#ifdef HAS_AMX
    if (tiles_granted()) return AMX;
#endif
    return AVX512_BF16;
}

void products_use(int instructions) { in_use = instructions; }

/* Memory of a thread that is kept for its next product: the system would hand out new pages. */
static uint32_t *scratch(size_t size) {
    static _Thread_local uint32_t *memory;
    static _Thread_local size_t has;
    if (size > has) {
        free(memory);
        memory = aligned_alloc(64, rounded_up(size * sizeof(uint32_t), 1 << 16));
        has = memory ? size : 0;
    }
    return memory;
}

/* rows[i][j] = rows[j][i] */
TARGET INLINE void turn(__m512i rows[16]) {
    __m512i next[16];
    UNROLL for (int i = 0; i < 16; i += 2) {
        next[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        next[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        rows[i] = _mm512_unpacklo_epi64(next[i], next[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(next[i], next[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(next[i + 1], next[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(next[i + 1], next[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        next[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
        next[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
        next[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
        next[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        rows[i] = _mm512_shuffle_i32x4(next[i], next[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(next[i], next[i + 8], 0xdd);
        rows[i + 4] = _mm512_shuffle_i32x4(next[i + 4], next[i + 12], 0x88);
        rows[i + 12] = _mm512_shuffle_i32x4(next[i + 4], next[i + 12], 0xdd);
    }
}

TARGET INLINE __mmask16 first(long n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1; }
TARGET INLINE __mmask32 first32(long n) { return n >= 32 ? ~0u : n <= 0 ? 0 : (1u << n) - 1; }

/* 16 units of a line whose steps are neighbours, `left` numbers of which there are. */
TARGET_BF16 INLINE __m512i load_line(const Operand *from, long at, long left, int precision) {
    const float *wide = (const float *)from->at + at;
    const uint16_t *narrow = (const uint16_t *)from->at + at;
    if (precision == FLOAT32) {
        if (from->type == FLOAT32) return _mm512_castps_si512(_mm512_maskz_loadu_ps(first(left), wide));
        __m256i half = _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(first(left), narrow));
        return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
    }
    if (from->type == BFLOAT16) return _mm512_maskz_loadu_epi16(first32(left), narrow);
    __m512 low = _mm512_maskz_loadu_ps(first(left), wide);
    __m512 high = _mm512_maskz_loadu_ps(first(left - 16), wide + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* A unit of each of 16 lines that are neighbours, `left` of which there are, with `steps` left. */
TARGET_BF16 INLINE __m512i load_step(const Operand *x, long at, long left, long steps, int precision) {
    const float *wide = (const float *)x->at + at;
    const uint16_t *narrow = (const uint16_t *)x->at + at;
    __mmask16 mask = steps > 0 ? first(left) : 0, second = steps > 1 ? mask : 0;
    if (precision == FLOAT32) {
        if (x->type == FLOAT32) return _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, wide));
        __m512i half = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, narrow));
        return _mm512_slli_epi32(half, 16);
    }
    __m512i both;
    if (x->type == FLOAT32) {
        __m512 low = _mm512_maskz_loadu_ps(mask, wide);
        both = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(second, wide + x->step), low);
    } else {
        __m256i low = _mm256_maskz_loadu_epi16(mask, narrow);
        __m256i high = _mm256_maskz_loadu_epi16(second, narrow + x->step);
        both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    const __m512i pairs = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
        19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(pairs, both);
}

/* `lines` lines from number `line` on, in a panel of `width` units a step. */
typedef struct {
    long line, lines, width;
    uint32_t *to;
} Panel;

/* A panel of lines whose steps are neighbours. May write 16 units past its end. */
TARGET_BF16 INLINE void turned_panel(
    const Operand *x, const Panel *panel, long from, long end, int precision) {
    long step = precision == BFLOAT16 ? 2 : 1, count = units(end - from, precision);
    for (long group = 0; group < panel->width; group += 16) {
        long at = (panel->line + group) * x->line + from;
        for (long s = 0; s < count; s += 16) {
            uint32_t *to = panel->to + s * panel->width + group;
            __m512i rows[16];
            UNROLL for (int i = 0; i < 16; i++) {
                long left = group + i < panel->lines ? end - from - s * step : 0;
                rows[i] = load_line(x, at + i * x->line + s * step, left, precision);
            }
            turn(rows);
            if (s + 16 <= count) {
                UNROLL for (int i = 0; i < 16; i++)
                    _mm512_storeu_si512(to + i * panel->width, rows[i]);
            } else {
                for (int i = 0; i < count - s; i++)
                    _mm512_storeu_si512(to + i * panel->width, rows[i]);
            }
        }
    }
}

#define AHEAD 4 /* steps that are fetched before they are needed: each is another page */

/* Panels of lines that are neighbours: all panels of a step, and then the next step, as steps may be
   a power of two apart and push each other out of the caches. */
TARGET_BF16 INLINE void straight_panels(
    const Operand *x, const Panel *panels, int number, long from, long end, int precision) {
    long step = precision == BFLOAT16 ? 2 : 1, size = x->type == BFLOAT16 ? 2 : 4;
    long count = units(end - from, precision);
    for (long i = from, s = 0; s < count; i += step, s++)
        for (int p = 0; p < number; p++) {
            const Panel *panel = panels + p;
            for (long group = 0; group < panel->width; group += 16) {
                long at = (panel->line + group) * x->line + i * x->step;
                const char *next = (const char *)x->at + (at + AHEAD * step * x->step) * size;
                _mm_prefetch(next, _MM_HINT_T0);
                if (step == 2) _mm_prefetch(next + x->step * size, _MM_HINT_T0);
                __m512i unit = load_step(x, at, panel->lines - group, end - i, precision);
                uint32_t *to = panel->to + s * panel->width + group;
                /* What follows the last step may be written already. */
                _mm512_mask_storeu_epi32(to, first(panel->width - group), unit);
            }
        }
}

/* A panel of rows for AMX: a block of each row, and then the next blocks. */
TARGET_BF16 static void row_blocks(const Operand *x, const Panel *panel, long from, long end) {
    uint32_t *to = panel->to;
    for (long s = from; s < end; s += 2 * BLOCK, to += panel->lines * BLOCK)
        for (long r = 0; r < panel->lines; r += 16) {
            long at = (panel->line + r) * x->line + s * x->step, left = panel->lines - r;
            __m512i rows[16];
            UNROLL for (int i = 0; i < 16; i++)
                rows[i] = x->step == 1
                    ? load_line(x, at + i * x->line, i < left ? end - s : 0, BFLOAT16)
                    : load_step(x, at + 2 * i * x->step, left, end - s - 2 * i, BFLOAT16);
            if (x->step != 1) turn(rows);
            for (int i = 0; i < 16 && i < left; i++)
                _mm512_storeu_si512(to + (r + i) * BLOCK, rows[i]);
        }
}

#define PANELS(NAME, PRECISION) \
    TARGET_BF16 static void NAME( \
        const Operand *x, const Panel *panels, int number, long from, long end) { \
        if (x->step != 1) \
            straight_panels(x, panels, number, from, end, PRECISION); \
        else \
            for (int p = 0; p < number; p++) turned_panel(x, panels + p, from, end, PRECISION); \
    }
PANELS(panels_float32, FLOAT32)
PANELS(panels_bfloat16, BFLOAT16)

/* Steps from to the one before end of all panels, the first ones first. */
static void write_panels(
    const Operand *x, const Panel *panels, int number, long from, long end, int precision) {
    (precision == BFLOAT16 ? panels_bfloat16 : panels_float32)(x, panels, number, from, end);
}

void pack_rows(const Operand *a, long m, long k, int precision, long from, long end, uint32_t *to) {
    long whole = units(k, precision), first = units(from, precision);
    long count = units(end, precision) - first, panels = panels_of(m, precision);
    uint32_t part[(count + 1) * 16];
    for (long p = 0; p < panels; p++) {
        long row = first_row(m, p, panels), rows = first_row(m, p + 1, panels) - row;
        uint32_t *out = to + row * whole + first * rows;
        if (by_amx(precision)) {
            row_blocks(a, &(Panel){row, rows, rows, out}, from, end);
            continue;
        }
        /* What follows a part may be another thread's, which is written by now: keep it. */
        Panel panel = {row, rows, rows, count == whole ? out : part};
        write_panels(a, &panel, 1, from, end, precision);
        if (count != whole) memcpy(out, part, count * rows * sizeof(uint32_t));
    }
}

void pack_columns(
    const Operand *b, long columns, long k, int precision, long n, long end, uint32_t *to) {
    for (; n < end; n += LINES) {
        Panel panel = {n, least(LINES, columns - n), LINES, to + n * units(k, precision)};
        write_panels(b, &panel, 1, 0, k, precision);
    }
}

/* `rows` x 32 sums over `depth` units, added to `add` unless that is NULL. */
#define TILE(NAME, INSTRUCTIONS, MULTIPLY) \
    INSTRUCTIONS INLINE void NAME( \
        int rows, long depth, const float *a, const float *b, const float *add, long add_row, \
        float *c, long c_row, long columns) { \
        __m512 sums[ROWS][2]; \
        __mmask16 low = first(columns), high = first(columns - 16); \
        UNROLL for (int r = 0; r < rows; r++) { \
            sums[r][0] = add ? _mm512_maskz_loadu_ps(low, add + r * add_row) : _mm512_setzero_ps(); \
            sums[r][1] = \
                add ? _mm512_maskz_loadu_ps(high, add + r * add_row + 16) : _mm512_setzero_ps(); \
        } \
        for (long i = 0; i < depth; i++) { \
            __m512 line[2] = {_mm512_load_ps(b + i * LINES), _mm512_load_ps(b + i * LINES + 16)}; \
            UNROLL for (int r = 0; r < rows; r++) { \
                __m512 number = _mm512_set1_ps(a[i * rows + r]); \
                sums[r][0] = MULTIPLY(sums[r][0], number, line[0]); \
                sums[r][1] = MULTIPLY(sums[r][1], number, line[1]); \
            } \
        } \
        UNROLL for (int r = 0; r < rows; r++) { \
            _mm512_mask_storeu_ps(c + r * c_row, low, sums[r][0]); \
            _mm512_mask_storeu_ps(c + r * c_row + 16, high, sums[r][1]); \
        } \
    } \
    INSTRUCTIONS static void NAME##_of( \
        int rows, long depth, const float *a, const float *b, const float *add, long add_row, \
        float *c, long c_row, long columns) { \
        switch (rows) { \
            CASE(NAME, 1) CASE(NAME, 2) CASE(NAME, 3) CASE(NAME, 4) CASE(NAME, 5) CASE(NAME, 6) \
            CASE(NAME, 7) CASE(NAME, 8) CASE(NAME, 9) CASE(NAME, 10) CASE(NAME, 11) CASE(NAME, 12) \
            CASE(NAME, 13) CASE(NAME, 14) \
        } \
    }
#define CASE(NAME, R) \
    case R: NAME(R, depth, a, b, add, add_row, c, c_row, columns); break;
#define MULTIPLY_FLOAT32(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#define MULTIPLY_BFLOAT16(sum, a, b) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
TILE(tile_float32, TARGET, MULTIPLY_FLOAT32)
TILE(tile_bfloat16, TARGET_BF16, MULTIPLY_BFLOAT16)

#ifdef HAS_AMX
/* Eight tiles of 16 rows of 64 bytes. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tiles = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* A thread's tiles are its own; between products they are nobody's. */
TARGET_AMX static void open_tiles(int precision) {
    if (by_amx(precision)) _tile_loadconfig(&tiles);
}
TARGET_AMX static void close_tiles(int precision) {
    if (by_amx(precision)) _tile_release();
}

/* As the tiles above, of up to 32 rows over whole blocks. */
TARGET_AMX static void tile_amx(
    int rows, long depth, const uint32_t *a, const uint32_t *b, const float *add, long add_row,
    float *c, long c_row, long columns) {
    float edge[AMX_ROWS * LINES] __attribute__((aligned(64)));
    int whole = columns >= LINES && rows % 16 == 0, lower = rows > 16;
    __mmask16 low = first(columns), high = first(columns - 16);
    float *out = whole ? c : edge;
    long out_row = whole ? c_row : LINES;
    if (add && !whole) {
        for (int r = 0; r < rows; r++) {
            _mm512_store_ps(edge + r * LINES, _mm512_maskz_loadu_ps(low, add + r * add_row));
            _mm512_store_ps(edge + r * LINES + 16, _mm512_maskz_loadu_ps(high, add + r * add_row + 16));
        }
        add = edge, add_row = LINES;
    }
    if (add) {
        _tile_loadd(0, add, add_row * 4);
        _tile_loadd(1, add + 16, add_row * 4);
        if (lower) {
            _tile_loadd(2, add + 16 * add_row, add_row * 4);
            _tile_loadd(3, add + 16 * add_row + 16, add_row * 4);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long i = 0; i < depth; i += BLOCK) {
        const uint32_t *lines = a + i * rows, *across = b + i * LINES;
        _tile_loadd(4, lines, BLOCK * 4);
        _tile_loadd(6, across, LINES * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, across + 16, LINES * 4);
        _tile_dpbf16ps(1, 4, 7);
        if (lower) {
            _tile_loadd(5, lines + 16 * BLOCK, BLOCK * 4);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, out, out_row * 4);
    _tile_stored(1, out + 16, out_row * 4);
    if (lower) {
        _tile_stored(2, out + 16 * out_row, out_row * 4);
        _tile_stored(3, out + 16 * out_row + 16, out_row * 4);
    }
    if (!whole)
        for (int r = 0; r < rows; r++) {
            _mm512_mask_storeu_ps(c + r * c_row, low, _mm512_load_ps(edge + r * LINES));
            _mm512_mask_storeu_ps(c + r * c_row + 16, high, _mm512_load_ps(edge + r * LINES + 16));
        }
}
#else
static void open_tiles(int precision) {}
static void close_tiles(int precision) {}
static void tile_amx(
    int rows, long depth, const uint32_t *a, const uint32_t *b, const float *add, long add_row,
    float *c, long c_row, long columns) {}
#endif

static void any_tile(
    int rows, long depth, const uint32_t *a, const uint32_t *b, int precision, const float *add,
    long add_row, float *c, long c_row, long columns) {
    if (by_amx(precision))
        tile_amx(rows, depth, a, b, add, add_row, c, c_row, columns);
    else
        (precision == BFLOAT16 ? tile_bfloat16_of : tile_float32_of)(
            rows, depth, (const float *)a, (const float *)b, add, add_row, c, c_row, columns);
}

void multiply(
    const Panels *of, const float *add, long add_row, float *c, long c_row, long n, long end) {
    long whole = units(of->k, of->precision), panels = panels_of(of->m, of->precision);
    open_tiles(of->precision);
    for (; n < end; n += LINES)
        for (long from = 0; from < whole || !from; from += DEPTH) {
            const float *before = from ? c : add;
            long before_row = from ? c_row : add_row, depth = least(DEPTH, whole - from);
            for (long p = 0; p < panels; p++) {
                long row = first_row(of->m, p, panels), rows = first_row(of->m, p + 1, panels) - row;
                any_tile(
                    rows, depth, of->a + row * whole + from * rows,
                    of->b + n * whole + from * LINES, of->precision,
                    before ? before + row * before_row + n : NULL, before_row, c + row * c_row + n,
                    c_row, end - n);
            }
        }
    close_tiles(of->precision);
}

/* Rows m to m + rows and columns n to n + columns of c. */
static int block(const Product *task, long m, long rows, long n, long columns) {
    int precision = task->precision, few = 0;
    long step = precision == BFLOAT16 ? 2 : 1, whole = units(task->k, precision);
    size_t a_units = rounded_up(rows * DEPTH + 16, 16);
    uint32_t *a = scratch(a_units + TOGETHER * LINES * DEPTH), *b = a + a_units;
    long panels = panels_of(rows, precision);
    Panel down[MOST_ROWS / ROWS + 1], across[TOGETHER];
    if (!a) return 1;
    open_tiles(precision);
    for (long from = 0; from < whole || !from; from += DEPTH) {
        long depth = least(DEPTH, whole - from), end = least(task->k, (from + depth) * step);
        for (long p = 0; p < panels; p++) {
            long row = first_row(rows, p, panels), wide = first_row(rows, p + 1, panels) - row;
            down[p] = (Panel){m + row, wide, wide, a + row * depth};
            if (by_amx(precision)) row_blocks(&task->a, down + p, from * step, end);
        }
        if (!by_amx(precision))
            write_panels(&task->a, down, panels, from * step, end, precision);
        const float *add = from ? task->c : task->add;
        long add_row = from ? task->c_row : task->add_row;
        for (long j = n; j < n + columns; j += LINES) {
            if ((j - n) % (TOGETHER * LINES) == 0) {
                for (few = 0; few < TOGETHER && j + few * LINES < n + columns; few++) {
                    long column = j + few * LINES, wide = least(LINES, n + columns - column);
                    across[few] = (Panel){column, wide, LINES, b + few * LINES * depth};
                }
                write_panels(&task->b, across, few, from * step, end, precision);
            }
            const Panel *lines = across + (j - n) / LINES % TOGETHER;
            for (long p = 0; p < panels; p++)
                any_tile(
                    down[p].width, depth, down[p].to, lines->to, precision,
                    add ? add + down[p].line * add_row + j : NULL, add_row,
                    task->c + down[p].line * task->c_row + j, task->c_row, lines->lines);
        }
    }
    close_tiles(precision);
    return 0;
}

/* Part `i` of `parts` of n, in whole panels. */
static long part(long n, long i, long parts) {
    return least(n, rounded_up(n, LINES) / LINES * i / parts * LINES);
}

int product(const Product *task, long threads) {
    long down = (task->m + MOST_ROWS - 1) / MOST_ROWS, failed = 0;
    long across = (task->n + MOST_COLUMNS - 1) / MOST_COLUMNS, panels = (task->n + LINES - 1) / LINES;
    while (down * across < 4 * threads && across < panels && task->m * (task->n / across) > 1 << 14)
        across++;
#pragma omp parallel for num_threads(threads) schedule(dynamic) collapse(2) if (threads > 1)
    for (long j = 0; j < across; j++)
        for (long i = 0; i < down; i++) {
            long m = task->m * i / down, rows = task->m * (i + 1) / down - m;
            long n = part(task->n, j, across), columns = part(task->n, j + 1, across) - n;
            if (block(task, m, rows, n, columns)) {
#pragma omp atomic write
                failed = 1;
            }
        }
    return failed;
}

TARGET_BF16 void round_bfloat16(const float *from, size_t count, uint16_t *to) {
    for (size_t i = 0; i < count; i += 16) {
        __mmask16 there = count - i >= 16 ? 0xffff : (1 << (count - i)) - 1;
        __m512 x = _mm512_maskz_loadu_ps(there, from + i);
        _mm256_mask_storeu_epi16(to + i, there, (__m256i)_mm512_cvtneps_pbh(x));
    }
}

/* 0 if products of bfloat16 by these instructions are right; a process may end in the attempt. */
int products_trial(int instructions) {
    float ones[64], found;
    if (products_instructions() < instructions) return 1;
    products_use(instructions);
    for (int i = 0; i < 64; i++) ones[i] = 1;
    Operand a = {ones, 64, 1, FLOAT32};
    Product task = {a, a, 1, 1, 64, NULL, 0, &found, 1, BFLOAT16};
    return product(&task, 1) || found != 64;
}
#else
int products_instructions(void) { return NOTHING; }
void products_use(int instructions) {}
int products_trial(int instructions) { return 1; }
void round_bfloat16(const float *from, size_t count, uint16_t *to) {}
int product(const Product *task, long threads) { return 1; }
#endif
