/* SPDX-License-Identifier: MIT
 *
 * proto/node.h — what both ends must say alike about a node. Pure. */
#ifndef KP_PROTO_NODE_H
#define KP_PROTO_NODE_H

#include "proto/messages.h"

/* True for a node's name: 1 to 64 of A-Z a-z 0-9 . _ - . */
bool kp_node_name_ok(const char *name);

/* What a heartbeat's inventory_hash is: 16 hex digits of FNV-1a over the node packed as it stands
 * in HELLO or INVENTORY. A planner hashes what it received, before it marks leases in it. */
kp_status kp_node_hash(const kp_node *node, char ret[17], kp_err *err);

#endif
