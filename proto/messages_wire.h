/* SPDX-License-Identifier: MIT
 *
 * proto/messages_wire.h — the schemas that only travel, and the schema of each payload type.
 * Others find them by kp_wire_schema. */
#ifndef KP_PROTO_MESSAGES_WIRE_H
#define KP_PROTO_MESSAGES_WIRE_H

#include "proto/messages.h"

extern const kp_schema kp_schema_wire_progress, kp_schema_wire_plan_request, kp_schema_wire_get,
    kp_schema_wire_lease_request, kp_schema_wire_verify_request, kp_schema_wire_hello,
    kp_schema_wire_welcome, kp_schema_wire_heartbeat, kp_schema_wire_resync, kp_schema_wire_fence,
    kp_schema_wire_run, kp_schema_wire_run_ready, kp_schema_wire_run_result,
    kp_schema_wire_run_abort;

/* KP_WIRE_ROWS names a payload by its struct. */
#define KP_SCHEMA_OF_kp_error_msg           kp_schema_error
#define KP_SCHEMA_OF_kp_wire_progress       kp_schema_wire_progress
#define KP_SCHEMA_OF_kp_wire_plan_request   kp_schema_wire_plan_request
#define KP_SCHEMA_OF_kp_plan                kp_schema_plan
#define KP_SCHEMA_OF_kp_wire_get            kp_schema_wire_get
#define KP_SCHEMA_OF_kp_nodes               kp_schema_nodes
#define KP_SCHEMA_OF_kp_gpus                kp_schema_gpus
#define KP_SCHEMA_OF_kp_plans               kp_schema_plans
#define KP_SCHEMA_OF_kp_leases              kp_schema_leases
#define KP_SCHEMA_OF_kp_wire_lease_request  kp_schema_wire_lease_request
#define KP_SCHEMA_OF_kp_lease               kp_schema_lease
#define KP_SCHEMA_OF_kp_wire_verify_request kp_schema_wire_verify_request
#define KP_SCHEMA_OF_kp_verdict             kp_schema_verdict
#define KP_SCHEMA_OF_kp_wire_hello          kp_schema_wire_hello
#define KP_SCHEMA_OF_kp_wire_welcome        kp_schema_wire_welcome
#define KP_SCHEMA_OF_kp_wire_heartbeat      kp_schema_wire_heartbeat
#define KP_SCHEMA_OF_kp_node                kp_schema_node
#define KP_SCHEMA_OF_kp_wire_resync         kp_schema_wire_resync
#define KP_SCHEMA_OF_kp_wire_fence          kp_schema_wire_fence
#define KP_SCHEMA_OF_kp_wire_run            kp_schema_wire_run
#define KP_SCHEMA_OF_kp_wire_run_ready      kp_schema_wire_run_ready
#define KP_SCHEMA_OF_kp_wire_run_result     kp_schema_wire_run_result
#define KP_SCHEMA_OF_kp_wire_run_abort      kp_schema_wire_run_abort

#endif
