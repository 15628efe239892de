/* SPDX-License-Identifier: MIT */
#include "planner/cli/source.h"
#include "planner/cli/file.h"
#include "planner/container/container.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is open while it is read. */
typedef struct file {
    int fd; /* -1: not open */
    kp_source source;
} file;

static kp_status read_piece(void *of, uint64_t at, void *to, size_t n, kp_err *err)
{
    const file *f = of;
    char *bytes = to;
    while (n) {
        ssize_t got = pread(f->fd, bytes, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return kp_fail(err, KP_INPUT, "cannot be read: %s", strerror(errno));
        if (!got) return kp_fail(err, KP_INPUT, "the file became shorter while it was read");
        bytes += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return KP_OK;
}

/* False if it is not there or no regular file. */
static bool open_file(int folder, const char *name, file *ret)
{
    struct stat info;
    *ret = (file){.fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (ret->fd >= 0 && !fstat(ret->fd, &info) && S_ISREG(info.st_mode)) {
        ret->source = (kp_source){.read = read_piece, .of = ret, .size = (uint64_t)info.st_size};
        return true;
    }
    if (ret->fd >= 0) close(ret->fd);
    ret->fd = -1;
    return false;
}

static void close_file(file *f)
{
    if (f->fd >= 0) close(f->fd);
}

/* ---- folders ---- */

static kp_status no_model(int folder, kp_err *err)
{
    struct stat info;
    if (fstatat(folder, "saved_model.pb", &info, 0)) {
        kp_fail(err, KP_INPUT, "the folder has no 'config.json' and no 'model.json'");
        kp_hint(err, "give a model file, an unpacked .keras archive, or a TensorFlow.js or Hugging "
                     "Face folder");
        return KP_INPUT;
    }
    kp_fail(err, KP_UNSUPPORTED, "a TensorFlow SavedModel, which is a graph of operations");
    kp_hint(err, "write the Keras model with model.save('model.keras'), or its model.to_json()");
    return KP_UNSUPPORTED;
}

/* Only an unpacked archive has metadata.json; its weights' shapes are of use then. */
static kp_status read_folder(kp_cli *cli, int folder, const char **ret, size_t *ret_len,
                             kp_err *err)
{
    file config, metadata, weights;
    kp_status status;
    if (!open_file(folder, "config.json", &config) && !open_file(folder, "model.json", &config))
        return no_model(folder, err);
    bool keras = open_file(folder, "metadata.json", &metadata);
    bool known = open_file(folder, "model.weights.h5", &weights);
    if (keras)
        status =
            kp_container_folder(&config.source, &metadata.source, known ? &weights.source : NULL,
                                &cli->arena, ret, ret_len, err);
    else
        status = kp_container_text(&config.source, &cli->arena, ret, ret_len, err);
    close_file(&config);
    close_file(&metadata);
    close_file(&weights);
    return status;
}

/* ---- files ---- */

static kp_container_kind kind_of(const file *f)
{
    uint8_t head[KP_CONTAINER_HEAD_BYTES];
    size_t n = f->source.size < sizeof(head) ? (size_t)f->source.size : sizeof(head);
    if (kp_source_copy(&f->source, 0, n, head, NULL)) return KP_CONTAINER_TEXT;
    return kp_container_find(head, n);
}

/* Read whole, then looked at: text, what comes through a pipe, what cannot be opened. */
static kp_status read_whole(kp_cli *cli, const char *path, const char **ret, size_t *ret_len,
                            kp_err *err)
{
    const char *bytes;
    size_t len;
    KP_TRY(kp_file_read(cli, path, &bytes, &len, err));
    kp_source source = kp_source_memory(bytes, len);
    return kp_file_at(kp_container_text(&source, &cli->arena, ret, ret_len, err), path, err);
}

kp_status kp_source_model(kp_cli *cli, const char *path, const char **ret, size_t *ret_len,
                          kp_err *err)
{
    file f;
    kp_status status;
    if (!strcmp(path, "-")) return read_whole(cli, path, ret, ret_len, err);
    int folder = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (folder >= 0) {
        status = read_folder(cli, folder, ret, ret_len, err);
        close(folder);
        return kp_file_at(status, path, err);
    }
    if (!open_file(AT_FDCWD, path, &f)) return read_whole(cli, path, ret, ret_len, err);
    bool text = kind_of(&f) == KP_CONTAINER_TEXT;
    status = text ? KP_OK : kp_container_text(&f.source, &cli->arena, ret, ret_len, err);
    close_file(&f);
    return text ? read_whole(cli, path, ret, ret_len, err) : kp_file_at(status, path, err);
}
