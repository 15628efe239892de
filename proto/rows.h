/* SPDX-License-Identifier: MIT
 *
 * proto/rows.h — how the rows of a field table are written. Only for .c files with such tables.
 *
 *   #define T kp_lease
 *   static const kp_field lease_fields[] = {
 *       STR(id, REQ, "id of the lease, ls_..."),
 *       U64(fence, REQ, "number that rises with every grant"),
 *       STRS(gpus, REQ, "UUIDs of the GPUs"),
 *   };
 *   #undef T
 *   const kp_schema kp_schema_lease = SCHEMA(T, lease_fields, "lease", "a reservation");
 *
 * T is the struct. A row names the member, the flag and the doc; the field has the member's name,
 * or with the _AS rows another one. A member of the wrong type does not compile. Lists and their
 * like expect the count in n_<member>. */
#ifndef KP_PROTO_ROWS_H
#define KP_PROTO_ROWS_H

#include "proto/schema.h"

#define REQ KP_FIELD_REQUIRED
#define OPT KP_FIELD_OPTIONAL                      /* left out when absent */
#define NUL (KP_FIELD_OPTIONAL | KP_FIELD_NULLABLE) /* null when absent, may be missing when read */

/* Offset of member m; a negative array size if its type is not `type` (or its size not `size`). */
#define KP_ROW_OFFSET(m, type)                                                                     \
    (uint32_t)(offsetof(T, m) + 0 * sizeof(char[_Generic(&((T *)0)->m, type *: 1, default: -1)]))
#define KP_ROW_SIZED(m, size)                                                                      \
    (uint32_t)(offsetof(T, m) + 0 * sizeof(char[sizeof(((T *)0)->m) == (size) ? 1 : -1]))
#define KP_ROW_PLAIN(n, t, m, ctype, f, d)                                                         \
    {.name = n, .type = KP_F_##t, .flags = f, .offset = KP_ROW_OFFSET(m, ctype), .doc = d}
#define KP_ROW_COUNTED(t, m, at, f, s, d)                                                          \
    {.name = #m, .type = KP_F_##t, .flags = f, .offset = at,                                       \
     .count_offset = KP_ROW_OFFSET(n_##m, uint32_t), .sub = s, .doc = d}

#define BOOL(m, f, d)          KP_ROW_PLAIN(#m, BOOL, m, bool, f, d)
#define U32(m, f, d)           KP_ROW_PLAIN(#m, U32, m, uint32_t, f, d)
#define U64(m, f, d)           KP_ROW_PLAIN(#m, U64, m, uint64_t, f, d)
#define I64(m, f, d)           KP_ROW_PLAIN(#m, I64, m, int64_t, f, d)
#define F64(m, f, d)           KP_ROW_PLAIN(#m, F64, m, double, f, d)
#define STR(m, f, d)           KP_ROW_PLAIN(#m, STR, m, const char *, f, d)
#define DIMS(m, f, d)          KP_ROW_PLAIN(#m, DIMS, m, kp_shape, f, d)
#define BYTES(m, f, d)         KP_ROW_PLAIN(#m, BYTES, m, kp_bytes, f, d)
#define U32_AS(n, m, f, d)     KP_ROW_PLAIN(n, U32, m, uint32_t, f, d)
#define U64_AS(n, m, f, d)     KP_ROW_PLAIN(n, U64, m, uint64_t, f, d)
#define STR_AS(n, m, f, d)     KP_ROW_PLAIN(n, STR, m, const char *, f, d)
#define ENUM(m, names, f, d)   ENUM_AS(#m, m, names, f, d)
#define ENUM_AS(n, m, table, f, d)                                                                 \
    {.name = n, .type = KP_F_ENUM, .flags = f, .offset = KP_ROW_SIZED(m, sizeof(int)),             \
     .names = table, .n_names = KP_LEN(table), .doc = d}
#define STRUCT(m, s, f, d)                                                                         \
    {.name = #m, .type = KP_F_STRUCT, .flags = f, .offset = (uint32_t)offsetof(T, m), .sub = s,    \
     .doc = d}
#define PTR(m, s, f, d)                                                                            \
    {.name = #m, .type = KP_F_PTR, .flags = f, .offset = KP_ROW_SIZED(m, sizeof(void *)),          \
     .sub = s, .doc = d}
#define LIST(m, s, f, d)       KP_ROW_COUNTED(LIST, m, KP_ROW_SIZED(m, sizeof(void *)), f, s, d)
#define MAP(m, s, f, d)        KP_ROW_COUNTED(MAP, m, KP_ROW_SIZED(m, sizeof(void *)), f, s, d)
#define STRS(m, f, d)          KP_ROW_COUNTED(STRS, m, KP_ROW_OFFSET(m, const char **), f, NULL, d)
#define U32S(m, f, d)          KP_ROW_COUNTED(U32S, m, KP_ROW_OFFSET(m, uint32_t *), f, NULL, d)
#define DIMSES(m, f, d)        KP_ROW_COUNTED(DIMSES, m, KP_ROW_OFFSET(m, kp_shape *), f, NULL, d)
#define U32_ARRAY(m, f, d)                                                                         \
    {.name = #m, .type = KP_F_U32_ARRAY, .flags = f, .offset = KP_ROW_OFFSET(m[0], uint32_t),      \
     .n_items = KP_LEN(((T *)0)->m), .doc = d}

/* The schema of a struct and its table. */
#define SCHEMA(type, table, n, d)                                                                  \
    {.name = n, .doc = d, .size = sizeof(type), .n_fields = KP_LEN(table), .fields = table}

#endif
