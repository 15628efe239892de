/* SPDX-License-Identifier: MIT */
#include "tests/store/fault.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file's bytes in memory, and as they were when they last reached the disk. */
typedef struct image {
    char path[256];
    unsigned char *now, *synced;
    size_t now_len, synced_len;
    bool gone; /* deleted */
} image;

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
    image *image;       /* NULL: not remembered */
} fault_file;

enum { IMAGES = 8, SECTOR = 512 };

static sqlite3_vfs *real_vfs;
static sqlite3_vfs fault_vfs;
static int writes_left, syncs_left, fault_code, was_hit;
static image images[IMAGES];
static bool lazy;      /* the real disk need not be waited for: what it keeps is simulated */
static int power_left; /* calls until the power goes; 0: not simulated; -1: gone */

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((fault_file *)file)->real;
}

/* Counts down; stays at 1, which is "fail". */
static int due(int *left)
{
    if (*left <= 0) return 0;
    if (*left > 1) {
        (*left)--;
        return 0;
    }
    was_hit = 1;
    return 1;
}

static int f_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}
static int f_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), data, n, at);
}
/* One more call that reaches the disk; true when the power is gone. */
static int dark(void)
{
    if (power_left > 0 && --power_left == 0) power_left = -1;
    if (power_left < 0) was_hit = 1;
    return power_left < 0;
}

static void grow(unsigned char **bytes, size_t *len, size_t want)
{
    if (want > *len) {
        *bytes = realloc(*bytes, want);
        if (!*bytes) abort();
        memset(*bytes + *len, 0, want - *len);
    }
    *len = want;
}

static void note_write(image *of, const void *data, size_t n, size_t at)
{
    if (!of) return;
    if (at + n > of->now_len) grow(&of->now, &of->now_len, at + n);
    memcpy(of->now + at, data, n);
}

static void note_sync(image *of)
{
    if (!of) return;
    grow(&of->synced, &of->synced_len, of->now_len);
    if (of->now_len) memcpy(of->synced, of->now, of->now_len);
}

static int f_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (due(&writes_left)) return fault_code;
    if (dark()) return SQLITE_IOERR_WRITE;
    note_write(((fault_file *)f)->image, data, (size_t)n, (size_t)at);
    return real_of(f)->pMethods->xWrite(real_of(f), data, n, at);
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    image *of = ((fault_file *)f)->image;
    if (dark()) return SQLITE_IOERR_TRUNCATE;
    if (of && (size_t)size < of->now_len) of->now_len = (size_t)size;
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}
static int f_sync(sqlite3_file *f, int flags)
{
    if (due(&syncs_left)) return fault_code;
    if (dark()) return SQLITE_IOERR_FSYNC;
    note_sync(((fault_file *)f)->image);
    if (lazy) return SQLITE_OK;
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int f_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}
static int f_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int f_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int f_check(sqlite3_file *f, int *ret)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}
static int f_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int f_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int f_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

/* Version 1: no shared memory, which a store that holds its file exclusively does without. */
static const sqlite3_io_methods methods = {
    1,         f_close,  f_read,   f_write, f_truncate, f_sync, f_size, f_lock, f_unlock, f_check,
    f_control, f_sector, f_device, 0,       0,          0,      0,      0,      0};

static image *image_of(const char *name)
{
    if (power_left == 0 || !name) return NULL;
    for (int i = 0; i < IMAGES; i++) {
        if (images[i].path[0] && strcmp(images[i].path, name)) continue;
        if (images[i].gone) images[i].now_len = images[i].synced_len = 0;
        images[i].gone = false;
        snprintf(images[i].path, sizeof(images[i].path), "%s", name);
        return &images[i];
    }
    abort();
}

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    fault_file *f = (fault_file *)file;
    f->real = (sqlite3_file *)&f[1];
    f->image = image_of(name);
    int code = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
    f->base.pMethods = f->real->pMethods ? &methods : NULL;
    return code;
}

/* The folder is taken to be synced with the deletion, as SQLite asks for. */
static int f_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    if (dark()) return SQLITE_IOERR_DELETE;
    for (int i = 0; i < IMAGES; i++)
        if (!strcmp(images[i].path, name)) images[i].gone = true;
    return real_vfs->xDelete(real_vfs, name, sync_dir);
}

void kp_fault_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    fault_vfs = *real_vfs;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile = (int)sizeof(fault_file) + real_vfs->szOsFile;
    fault_vfs.xOpen = f_open;
    fault_vfs.xDelete = f_delete;
    sqlite3_vfs_register(&fault_vfs, 1);
}

void kp_fault_arm(int nth_write, int nth_sync, int code)
{
    writes_left = nth_write;
    syncs_left = nth_sync;
    fault_code = code;
    was_hit = 0;
}

int kp_fault_hit(void)
{
    return was_hit;
}

void kp_fault_power_on(int nth_call)
{
    for (int i = 0; i < IMAGES; i++) {
        free(images[i].now);
        free(images[i].synced);
        images[i] = (image){.path = ""};
    }
    power_left = nth_call;
    lazy = true;
    was_hit = 0;
}

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* What the disk may hold: by sector the synced bytes or later ones. */
static void write_back(const image *of, unsigned seed)
{
    bool later = seed != 0;
    size_t len =
        later && of->now_len > of->synced_len && next(&seed) % 2 ? of->now_len : of->synced_len;
    FILE *file = fopen(of->path, "wb");
    if (!file) abort();
    for (size_t at = 0; at < len; at += SECTOR) {
        static const unsigned char zeros[SECTOR];
        size_t n = len - at < SECTOR ? len - at : SECTOR;
        bool have_now = at + n <= of->now_len, have_synced = at + n <= of->synced_len;
        const unsigned char *from = have_synced ? of->synced + at : zeros;
        if (later && have_now && next(&seed) % 2) from = of->now + at;
        if (fwrite(from, 1, n, file) != n) abort();
    }
    fclose(file);
}

void kp_fault_power_off(unsigned seed)
{
    power_left = 0;
    for (int i = 0; i < IMAGES; i++)
        if (images[i].path[0] && !images[i].gone)
            write_back(&images[i], seed ? seed + (unsigned)i : 0);
}
