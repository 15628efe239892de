/* SPDX-License-Identifier: MIT
 *
 * proto/text_near.c — "did you mean": the nearest of known names. */
#include "proto/text.h"
#include <ctype.h>

/* Edit distance of two short names; longer ones count as far. */
static unsigned distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned row[64];
    if (na >= KP_LEN(row) || nb >= KP_LEN(row)) return UINT32_MAX;
    for (size_t j = 0; j <= nb; j++) row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            unsigned change = diagonal + (ca != cb);
            diagonal = row[j];
            unsigned shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < shift ? change : shift;
        }
    }
    return row[nb];
}

const char *kp_nearest(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    unsigned least = 3;
    if (strlen(name) / 2 + 1 < least) least = (unsigned)strlen(name) / 2 + 1;
    for (size_t i = 0; i < n; i++) {
        unsigned d = names[i] ? distance(name, names[i]) : UINT32_MAX;
        if (d >= least) continue;
        least = d;
        best = names[i];
    }
    return best;
}
