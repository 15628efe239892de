/* SPDX-License-Identifier: MIT */
#include "tests/store/fault.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
} fault_file;

static sqlite3_vfs *real_vfs;
static sqlite3_vfs fault_vfs;
static int writes_left, syncs_left, fault_code, was_hit;

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
static int f_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (due(&writes_left)) return fault_code;
    return real_of(f)->pMethods->xWrite(real_of(f), data, n, at);
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}
static int f_sync(sqlite3_file *f, int flags)
{
    if (due(&syncs_left)) return fault_code;
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
static const sqlite3_io_methods methods = {1,      f_close,  f_read,  f_write,   f_truncate,
                                           f_sync, f_size,   f_lock,  f_unlock,  f_check,
                                           f_control, f_sector, f_device, 0, 0, 0, 0, 0, 0};

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    fault_file *f = (fault_file *)file;
    f->real = (sqlite3_file *)&f[1];
    int code = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
    f->base.pMethods = f->real->pMethods ? &methods : NULL;
    return code;
}

void kp_fault_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    fault_vfs = *real_vfs;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile = (int)sizeof(fault_file) + real_vfs->szOsFile;
    fault_vfs.xOpen = f_open;
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
