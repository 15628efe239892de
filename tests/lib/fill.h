/* SPDX-License-Identifier: MIT
 *
 * tests/lib/fill.h — a value of any schema with every field set to something different. */
#ifndef KP_TESTS_LIB_FILL_H
#define KP_TESTS_LIB_FILL_H

#include "proto/schema.h"

/* `seed` varies the values; optional fields are absent in every value with `bare`. Lists have two
 * items, one inside the second level of a schema that holds itself, none below. */
void test_fill(const kp_schema *schema, void *value, kp_arena *arena, unsigned seed, bool bare);

#endif
