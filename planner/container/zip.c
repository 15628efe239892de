/* SPDX-License-Identifier: MIT
 *
 * The directory of a zip archive: found from its end, read, and checked as a whole. */
#include "planner/container/zip.h"
#include "planner/container/inflate.h"
#include "planner/container/limits.h"
#include "proto/text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIG_ENTRY = 0x02014b50,
    SIG_END = 0x06054b50,
    SIG_END64 = 0x06064b50,
    SIG_LOCATOR = 0x07064b50,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    COMMENT_MAX = UINT16_MAX,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    FLAG_STRONG = 1 << 6,
    FLAG_MASKED = 1 << 13,
};

/* Where the directory is. */
typedef struct place {
    uint64_t entries, at, bytes, end; /* end: where the records behind it begin */
} place;

/* ---- the end of the archive ---- */

static kp_status lies(kp_err *err, const char *what)
{
    return kp_fail(err, KP_INPUT, "damaged zip archive: %s", what);
}

/* Reads the zip64 record that `locator` names, over the 32-bit fields. */
static kp_status read_end64(const kp_source *source, uint64_t end, kp_arena *arena, place *p,
                            kp_err *err)
{
    const uint8_t *bytes;
    if (end < LOCATOR_BYTES + END64_BYTES) return lies(err, "it has no place for its zip64 record");
    KP_TRY(kp_source_get(source, end - LOCATOR_BYTES, LOCATOR_BYTES, arena, &bytes, err));
    kp_cursor c = kp_cursor_over(bytes, LOCATOR_BYTES);
    if (kp_cursor_uint(&c, 4) != SIG_LOCATOR) return lies(err, "its zip64 record is missing");
    kp_cursor_take(&c, 4);
    p->end = kp_cursor_uint(&c, 8);
    if (p->end > end - LOCATOR_BYTES || end - LOCATOR_BYTES - p->end != END64_BYTES)
        return lies(err, "its zip64 record is not where it should be");
    KP_TRY(kp_source_get(source, p->end, END64_BYTES, arena, &bytes, err));
    c = kp_cursor_over(bytes, END64_BYTES);
    if (kp_cursor_uint(&c, 4) != SIG_END64) return lies(err, "its zip64 record is missing");
    kp_cursor_take(&c, 20); /* size, versions, disks */
    uint64_t here = kp_cursor_uint(&c, 8);
    p->entries = kp_cursor_uint(&c, 8);
    p->bytes = kp_cursor_uint(&c, 8);
    p->at = kp_cursor_uint(&c, 8);
    return here == p->entries ? KP_OK : lies(err, "it is one part of several");
}

static kp_status read_end(const kp_source *source, uint64_t end, const uint8_t *bytes,
                          kp_arena *arena, place *p, kp_err *err)
{
    kp_cursor c = kp_cursor_over(bytes + 4, END_BYTES - 4);
    uint64_t disk = kp_cursor_uint(&c, 2), first_disk = kp_cursor_uint(&c, 2);
    uint64_t here = kp_cursor_uint(&c, 2);
    *p = (place){.entries = kp_cursor_uint(&c, 2), .end = end};
    p->bytes = kp_cursor_uint(&c, 4);
    p->at = kp_cursor_uint(&c, 4);
    bool wide = p->entries == UINT16_MAX || p->bytes == UINT32_MAX || p->at == UINT32_MAX;
    if (wide) return read_end64(source, end, arena, p, err);
    return !disk && !first_disk && here == p->entries ? KP_OK
                                                      : lies(err, "it is one part of several");
}

/* The last record whose comment ends exactly with the file. */
static kp_status find_end(const kp_source *source, kp_arena *arena, place *ret, kp_err *err)
{
    if (source->size < END_BYTES) return lies(err, "it is cut off");
    uint64_t n = END_BYTES + COMMENT_MAX;
    if (n > source->size) n = source->size;
    const uint8_t *tail;
    KP_TRY(kp_source_get(source, source->size - n, n, arena, &tail, err));
    for (uint64_t back = END_BYTES; back <= n; back++) {
        const uint8_t *at = tail + (n - back);
        kp_cursor c = kp_cursor_over(at, END_BYTES);
        if (at[0] != 'P' || kp_cursor_uint(&c, 4) != SIG_END) continue;
        kp_cursor_take(&c, 16);
        if (kp_cursor_uint(&c, 2) != back - END_BYTES) continue;
        return read_end(source, source->size - back, at, arena, ret, err);
    }
    return lies(err, "it is cut off, or its end is missing");
}

static kp_status check_place(const place *p, kp_err *err)
{
    if (p->entries > KP_ZIP_ENTRIES_MAX)
        return kp_fail(err, KP_INPUT, "the zip archive has %" PRIu64 " entries, more than %d",
                       p->entries, KP_ZIP_ENTRIES_MAX);
    if (p->bytes > KP_ZIP_DIRECTORY_MAX)
        return kp_fail(err, KP_INPUT, "the zip archive's directory has %s, more than %s",
                       kp_size_text(p->bytes).s, kp_size_text(KP_ZIP_DIRECTORY_MAX).s);
    if (p->at > p->end || p->end - p->at != p->bytes)
        return lies(err, "its directory is not where it should be");
    return p->bytes / ENTRY_BYTES >= p->entries
               ? KP_OK
               : lies(err, "its directory is too short for its entries");
}

/* ---- entries ---- */

/* The 64-bit values of those fields that have no room for them, in this order. */
static kp_status read_extra(kp_zip_entry *entry, kp_cursor c, kp_err *err)
{
    uint64_t *wide[] = {&entry->whole, &entry->packed, &entry->at};
    bool missing = false;
    for (size_t i = 0; i < KP_LEN(wide); i++) missing |= *wide[i] == UINT32_MAX;
    while (missing && c.end - c.at >= 4) {
        uint64_t id = kp_cursor_uint(&c, 2), n = kp_cursor_uint(&c, 2);
        const uint8_t *bytes = kp_cursor_take(&c, n);
        if (!bytes) break;
        if (id != EXTRA_ZIP64) continue;
        kp_cursor values = kp_cursor_over(bytes, n);
        for (size_t i = 0; i < KP_LEN(wide); i++)
            if (*wide[i] == UINT32_MAX) *wide[i] = kp_cursor_uint(&values, 8);
        return values.past ? lies(err, "a zip64 field is too short") : KP_OK;
    }
    return missing ? lies(err, "a zip64 field is missing") : KP_OK;
}

/* No part of the name may lead out of the folder it is unpacked in. */
static bool leads_out(const char *name)
{
    if (*name == '/' || *name == '\\' || (*name && name[1] == ':')) return true;
    for (const char *part = name; *part;) {
        size_t n = strcspn(part, "/\\");
        if (n == 2 && part[0] == '.' && part[1] == '.') return true;
        part += n + (part[n] != 0);
    }
    return false;
}

static kp_status take_name(kp_cursor *c, uint64_t n, kp_arena *arena, const char **ret, kp_err *err)
{
    if (n > KP_NAME_BYTES_MAX)
        return kp_fail(err, KP_INPUT,
                       "the zip archive has a name of %" PRIu64 " bytes, more than %d", n,
                       KP_NAME_BYTES_MAX);
    const uint8_t *bytes = kp_cursor_take(c, n);
    if (!bytes) return lies(err, "its directory ends within an entry");
    const char *name = kp_arena_strn(arena, (const char *)bytes, (size_t)n);
    if (!name) return kp_nomem(err);
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i] < ' ')
            return kp_fail(err, KP_INPUT, "the zip archive has a name with control bytes");
    *ret = name;
    if (!leads_out(name)) return KP_OK;
    return kp_fail(err, KP_INPUT, "the zip archive's entry '%.60s' leads out of its folder", name);
}

static kp_status read_entry(kp_cursor *c, kp_arena *arena, kp_zip_entry *ret, kp_err *err)
{
    kp_zip_entry entry = {0};
    if (kp_cursor_uint(c, 4) != SIG_ENTRY)
        return lies(err, "its directory has fewer entries than it says");
    kp_cursor_take(c, 4); /* versions */
    entry.flags = (uint16_t)kp_cursor_uint(c, 2);
    entry.method = (uint16_t)kp_cursor_uint(c, 2);
    kp_cursor_take(c, 4); /* time */
    entry.crc = (uint32_t)kp_cursor_uint(c, 4);
    entry.packed = kp_cursor_uint(c, 4);
    entry.whole = kp_cursor_uint(c, 4);
    uint64_t n_name = kp_cursor_uint(c, 2), n_extra = kp_cursor_uint(c, 2);
    uint64_t n_comment = kp_cursor_uint(c, 2);
    kp_cursor_take(c, 8); /* disk, attributes */
    entry.at = kp_cursor_uint(c, 4);
    KP_TRY(take_name(c, n_name, arena, &entry.name, err));
    const uint8_t *extra = kp_cursor_take(c, n_extra);
    kp_cursor_take(c, n_comment);
    if (c->past) return lies(err, "its directory ends within an entry");
    KP_TRY(read_extra(&entry, kp_cursor_over(extra, n_extra), err));
    entry.end =
        entry.at + LOCAL_BYTES + n_name; /* at least; check_overlap makes it the next's start */
    *ret = entry;
    return KP_OK;
}

static kp_status check_entry(const kp_zip_entry *entry, kp_err *err)
{
    if (entry->flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED))
        return kp_fail(err, KP_INPUT, "the zip archive's entry '%.60s' is encrypted", entry->name);
    if (!kp_ratio_too_high(entry->packed, entry->whole)) return KP_OK;
    return kp_fail(err, KP_INPUT,
                   "the zip archive's entry '%.60s' unpacks to more than %d times its size",
                   entry->name, KP_RATIO_MAX);
}

static int by_place(const void *a, const void *b)
{
    const kp_zip_entry *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const kp_zip_entry *)a)->name, ((const kp_zip_entry *)b)->name);
}

/* Every entry ends before the next one begins, the last before the directory. */
static kp_status check_overlap(kp_zip *zip, uint64_t end, kp_err *err)
{
    qsort(zip->entries, zip->n_entries, sizeof(*zip->entries), by_place);
    for (uint32_t i = 0; i < zip->n_entries; i++) {
        kp_zip_entry *entry = &zip->entries[i];
        uint64_t next = i + 1 < zip->n_entries ? zip->entries[i + 1].at : end;
        if (entry->at >= next || entry->end > next || entry->packed > next - entry->end)
            return kp_fail(err, KP_INPUT,
                           "the zip archive's entry '%.60s' overlaps what follows it", entry->name);
        entry->end = next;
    }
    return KP_OK;
}

static kp_status check_names(kp_zip *zip, kp_err *err)
{
    qsort(zip->entries, zip->n_entries, sizeof(*zip->entries), by_name);
    for (uint32_t i = 1; i < zip->n_entries; i++)
        if (!by_name(&zip->entries[i - 1], &zip->entries[i]))
            return kp_fail(err, KP_INPUT, "the zip archive has two entries called '%.60s'",
                           zip->entries[i].name);
    return KP_OK;
}

kp_status kp_zip_open(const kp_source *source, kp_arena *arena, kp_zip *ret, kp_err *err)
{
    place p = {0};
    const uint8_t *bytes;
    KP_TRY(find_end(source, arena, &p, err));
    KP_TRY(check_place(&p, err));
    KP_TRY(kp_source_get(source, p.at, p.bytes, arena, &bytes, err));
    kp_zip zip = {.source = source, .n_entries = (uint32_t)p.entries};
    zip.entries = KP_NEW(arena, kp_zip_entry, zip.n_entries);
    if (!zip.entries) return kp_nomem(err);
    kp_cursor c = kp_cursor_over(bytes, p.bytes);
    for (uint32_t i = 0; i < zip.n_entries; i++) {
        KP_TRY(read_entry(&c, arena, &zip.entries[i], err));
        KP_TRY(check_entry(&zip.entries[i], err));
    }
    if (c.at != c.end) return lies(err, "its directory has more entries than it says");
    KP_TRY(check_overlap(&zip, p.at, err));
    KP_TRY(check_names(&zip, err));
    *ret = zip;
    return KP_OK;
}

const kp_zip_entry *kp_zip_find(const kp_zip *zip, const char *name)
{
    kp_zip_entry key = {.name = name};
    return bsearch(&key, zip->entries, zip->n_entries, sizeof(key), by_name);
}
