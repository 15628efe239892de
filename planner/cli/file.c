/* SPDX-License-Identifier: MIT */
#include "planner/cli/file.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *kp_file_place(const char *path)
{
    return strcmp(path, "-") ? path : "standard input";
}

const char *kp_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : kp_file_place(path);
}

static kp_status too_big(kp_err *err)
{
    return kp_fail(err, KP_INPUT, "the file has more than %s", kp_size_text(KP_FILE_BYTES_MAX).s);
}

static kp_status read_all(int fd, kp_buf *out, kp_err *err)
{
    static const size_t piece = 64 << 10;
    char bytes[64 << 10];
    for (;;) {
        ssize_t n = read(fd, bytes, piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return kp_fail(err, KP_INPUT, "cannot be read: %s", strerror(errno));
        if (!n) break;
        if (out->len + (size_t)n > KP_FILE_BYTES_MAX) return too_big(err);
        kp_buf_add(out, bytes, (size_t)n);
    }
    KP_TRY(kp_buf_check(out, err));
    if (!out->len) return kp_fail(err, KP_INPUT, "the file is empty");
    return KP_OK;
}

static kp_status open_and_read(const char *path, kp_buf *out, kp_err *err)
{
    struct stat info;
    bool standard = !strcmp(path, "-");
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? kp_fail(err, KP_INPUT, "no such file")
                               : kp_fail(err, KP_INPUT, "cannot be opened: %s", strerror(errno));
    kp_status status = KP_OK;
    if (fstat(fd, &info)) status = kp_fail(err, KP_INPUT, "cannot be read: %s", strerror(errno));
    else if (S_ISDIR(info.st_mode)) status = kp_fail(err, KP_INPUT, "is a directory, not a file");
    else if (S_ISREG(info.st_mode) && info.st_size > (off_t)KP_FILE_BYTES_MAX) status = too_big(err);
    else status = read_all(fd, out, err);
    if (!standard) close(fd);
    return status;
}

kp_status kp_file_read(kp_cli *cli, const char *path, const char **ret, size_t *ret_len,
                       kp_err *err)
{
    assert(cli->n_files < KP_LEN(cli->files));
    kp_buf *file = &cli->files[cli->n_files++];
    kp_buf_init(file, 0);
    kp_status status = open_and_read(path, file, err);
    if (status) return kp_file_at(status, path, err);
    *ret = kp_buf_text(file);
    *ret_len = file->len;
    return KP_OK;
}

bool kp_file_exists(const char *path)
{
    struct stat info;
    return !stat(path, &info);
}

/* ---- writing ---- */

static kp_status cannot_write(const char *path, kp_err *err)
{
    kp_fail(err, KP_IO, "cannot be written: %s", strerror(errno));
    kp_err_at(err, "%s", path);
    return KP_IO;
}

static bool write_fd(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static kp_status write_special(const char *path, const char *bytes, size_t len, kp_err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !write_fd(fd, bytes, len)) {
        kp_status status = cannot_write(path, err);
        if (fd >= 0) close(fd);
        return status;
    }
    return close(fd) ? cannot_write(path, err) : KP_OK;
}

kp_status kp_file_replace(const char *path, const char *bytes, size_t len, kp_err *err)
{
    struct stat info;
    char temporary[4096];
    if (!stat(path, &info) && !S_ISREG(info.st_mode)) return write_special(path, bytes, len, err);
    int n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) errno = ENAMETOOLONG;
    int fd = n > 0 && (size_t)n < sizeof(temporary) ? mkstemp(temporary) : -1;
    if (fd < 0) return cannot_write(path, err);
    mode_t mask = umask(0);
    umask(mask);
    bool ok = !fchmod(fd, 0666 & ~mask) && write_fd(fd, bytes, len);
    ok &= !close(fd);
    if (ok && !rename(temporary, path)) return KP_OK;
    kp_status status = cannot_write(path, err);
    unlink(temporary);
    return status;
}

kp_status kp_file_at(kp_status status, const char *path, kp_err *err)
{
    const char *name = kp_file_name(path);
    char rest[sizeof(err->where)];
    size_t len = strlen(name);
    bool known = !strncmp(err->where, name, len) && (!err->where[len] || err->where[len] == ':');
    if (!status || (!known && status != KP_INPUT && status != KP_UNSUPPORTED)) return status;
    if (known) {
        snprintf(rest, sizeof(rest), "%s", err->where + len + (err->where[len] ? 2 : 0));
        snprintf(err->where, sizeof(err->where), "%s", rest);
    }
    kp_err_at(err, "%s", kp_file_place(path));
    return status;
}
