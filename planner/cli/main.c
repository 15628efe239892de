/* SPDX-License-Identifier: MIT
 *
 * planner/cli/main.c — kplan: the command line, with the whole core in it. */
#include "planner/cli/cli.h"

int main(int argc, char **argv)
{
    return kp_cli_main(argc, (const char *const *)argv);
}
