/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"
#include "planner/cli/output.h"

typedef struct version {
    const char *version;
    uint32_t wire;
} version;

static const kp_field fields[] = {
    {.name = "version", .type = KP_F_STR, .offset = offsetof(version, version),
     .doc = "the program's version"},
    {.name = "wire", .type = KP_F_U32, .offset = offsetof(version, wire),
     .doc = "major version of the protocol with the daemon"},
};

static const kp_schema schema = {
    .name = "kplan.version/1", .doc = "the program's version", .size = sizeof(version),
    .n_fields = KP_LEN(fields), .fields = fields,
};

kp_status kp_cmd_version(kp_cli *cli, kp_err *err)
{
    version value = {.version = KP_VERSION, .wire = KP_WIRE_MAJOR};
    if (cli->values.json) return kp_cli_json(cli, &schema, &value, err);
    kp_buf_fmt(&cli->out, "kplan %s\n", KP_VERSION);
    return KP_OK;
}
