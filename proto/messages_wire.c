/* SPDX-License-Identifier: MIT
 *
 * Field tables: the envelope, requests and replies, and what agents say. */
#include "proto/messages_wire.h"
#include "proto/rows.h"

#define T kp_envelope
static const kp_field envelope_fields[] = {
    STR(id, OPT, "the request's id and idempotency key; replies repeat it"),
    F64(budget_s, OPT, "seconds left to answer; missing: no limit"),
    STR(epoch, OPT, "sender's boot epoch"),
    U64(session, OPT, "number of the session, given by the welcome"),
    U64(seq, OPT, "number of the message in the session, from 1"),
    BYTES(payload, OPT, "the message"),
};
#undef T
const kp_schema kp_schema_envelope =
    SCHEMA(kp_envelope, envelope_fields, "wire.envelope", "what is around each message");

#define T kp_wire_progress
static const kp_field progress_fields[] = {
    STR(text, REQ, "what goes on"),
    U64(done, REQ, "units done"),
    U64(total, OPT, "units in all; missing: not known"),
};
#undef T
const kp_schema kp_schema_wire_progress =
    SCHEMA(kp_wire_progress, progress_fields, "wire.progress", "a sign of life before a reply");

#define T kp_wire_plan_request
static const kp_field plan_request_fields[] = {
    STR(model_name, OPT, "name of the file"),
    BYTES(model, REQ, "the file's bytes"),
    STRUCT(options, &kp_schema_options, REQ, "what was asked for"),
    U32(nodes, OPT, "nodes to use; missing: all"),
    U32(gpus_per_node, OPT, "GPUs of each node to use; missing: all"),
    BOOL(reserve, REQ, "reserve and store, or a dry run"),
    BOOL(verify, REQ, "verify before the reply"),
    F64(lease_s, OPT, "seconds of the lease; missing: the daemon's own"),
    STR(owner, OPT, "who asks"),
};
#undef T
const kp_schema kp_schema_wire_plan_request =
    SCHEMA(kp_wire_plan_request, plan_request_fields, "wire.plan_request", "asks for a plan");

#define T kp_wire_get
static const kp_field get_fields[] = {
    STR(what, REQ, "nodes, gpus, plans, leases or plan"),
    STR(id, OPT, "id of the plan"),
};
#undef T
const kp_schema kp_schema_wire_get =
    SCHEMA(kp_wire_get, get_fields, "wire.get", "asks for what is known");

#define T kp_wire_lease_request
static const kp_field lease_request_fields[] = {
    STR(action, REQ, "renew, release or confirm"),
    STR(lease, REQ, "id of the lease"),
    F64(lease_s, OPT, "seconds from now; missing: the daemon's own"),
};
#undef T
const kp_schema kp_schema_wire_lease_request =
    SCHEMA(kp_wire_lease_request, lease_request_fields, "wire.lease_request", "changes a lease");

#define T kp_wire_verify_request
static const kp_field verify_request_fields[] = {
    STR(plan, OPT, "id of a stored plan"),
    PTR(body, &kp_schema_plan, OPT, "a plan from a file, instead of an id"),
    BOOL(sample, REQ, "check only the largest ops"),
};
#undef T
const kp_schema kp_schema_wire_verify_request =
    SCHEMA(kp_wire_verify_request, verify_request_fields, "wire.verify_request", "asks for a run");

#define T kp_wire_hello
static const kp_field hello_fields[] = {
    STR(node, REQ, "name of the agent's node"),
    STR(version, REQ, "the agent's version"),
    STRUCT(inventory, &kp_schema_node, REQ, "the whole node"),
};
#undef T
const kp_schema kp_schema_wire_hello =
    SCHEMA(kp_wire_hello, hello_fields, "wire.hello", "an agent introduces itself");

#define T kp_fence
static const kp_field fence_fields[] = {
    STR(gpu, REQ, "UUID of the GPU"),
    U64(fence, REQ, "highest fence number granted for it"),
};
#undef T
static const kp_schema fence = SCHEMA(kp_fence, fence_fields, "fence", "a GPU's fence");

#define T kp_wire_welcome
static const kp_field welcome_fields[] = {
    U64(session, REQ, "number of the session from now on"),
    F64(heartbeat_s, REQ, "seconds between heartbeats"),
    LIST(fences, &fence, REQ, "fences of the node's GPUs"),
};
#undef T
const kp_schema kp_schema_wire_welcome =
    SCHEMA(kp_wire_welcome, welcome_fields, "wire.welcome", "answers a hello");

#define T kp_wire_heartbeat
static const kp_field heartbeat_fields[] = {
    STR(inventory_hash, REQ, "hash of the inventory, so that drift is found"),
};
#undef T
const kp_schema kp_schema_wire_heartbeat =
    SCHEMA(kp_wire_heartbeat, heartbeat_fields, "wire.heartbeat", "an agent is there");

#define T kp_wire_resync
static const kp_field resync_fields[] = {
    STR(reason, REQ, "why the daemon asks"),
    BOOL(hello, REQ, "the session is unknown: say hello again"),
};
#undef T
const kp_schema kp_schema_wire_resync =
    SCHEMA(kp_wire_resync, resync_fields, "wire.resync", "asks an agent for its inventory");

#define T kp_wire_fence
static const kp_field wire_fence_fields[] = {
    STR(lease, REQ, "id of the lease"),
    U64(fence, REQ, "agents refuse lower numbers for these GPUs from now on"),
    STRS(gpus, REQ, "UUIDs of the GPUs"),
};
#undef T
const kp_schema kp_schema_wire_fence =
    SCHEMA(kp_wire_fence, wire_fence_fields, "wire.fence", "raises the fence of GPUs");

#define T kp_run_rank
static const kp_field run_rank_fields[] = {
    U32(rank, REQ, "rank of the plan"),
    U32(gpu_index, REQ, "index of its GPU in the node"),
    STR(gpu, REQ, "UUID of its GPU"),
};
#undef T
static const kp_schema run_rank =
    SCHEMA(kp_run_rank, run_rank_fields, "run_rank", "a rank that the agent starts");

#define T kp_wire_run
static const kp_field run_fields[] = {
    STR(run, REQ, "id of the verification run"),
    ENUM(executor, kp_executor_names, REQ, "where ops run"),
    U64(fence, OPT, "fence of the lease; missing: a plan without one"),
    F64(deadline_s, REQ, "seconds until the run is given up"),
    U64(seed, REQ, "seed of the inputs and weights"),
    U64(shape_limit, REQ, "elements that a tensor may have after shapes are reduced"),
    STR(meet, OPT, "endpoint of the run's first rank; missing for the agent that starts it"),
    STR(token, REQ, "secret that the ranks show each other"),
    U32(n_ranks, REQ, "ranks of the whole run"),
    {.name = "ranks", .type = KP_F_LIST, .offset = offsetof(T, ranks),
     .count_offset = offsetof(T, n_here), .sub = &run_rank, .doc = "ranks to start here"},
    LIST(checks, &kp_schema_check_spec, REQ, "what to check"),
};
#undef T
const kp_schema kp_schema_wire_run =
    SCHEMA(kp_wire_run, run_fields, "wire.run", "starts a verification run on an agent");

#define T kp_wire_run_ready
static const kp_field run_ready_fields[] = {
    STR(run, REQ, "id of the run"),
    STR(meet, REQ, "endpoint where the run's first rank listens"),
};
#undef T
const kp_schema kp_schema_wire_run_ready =
    SCHEMA(kp_wire_run_ready, run_ready_fields, "wire.run_ready", "where ranks meet");

#define T kp_wire_run_result
static const kp_field run_result_fields[] = {
    STR(run, REQ, "id of the run"),
    LIST(checks, &kp_schema_check, REQ, "all results; only from the agent with the first rank"),
    STR(failure, OPT, "why a rank was lost or did not start"),
    BOOL(reduced, REQ, "whether shapes were reduced"),
};
#undef T
const kp_schema kp_schema_wire_run_result =
    SCHEMA(kp_wire_run_result, run_result_fields, "wire.run_result", "the end of a run");

#define T kp_wire_run_abort
static const kp_field run_abort_fields[] = {
    STR(run, REQ, "id of the run"),
    STR(reason, REQ, "why it is given up"),
};
#undef T
const kp_schema kp_schema_wire_run_abort =
    SCHEMA(kp_wire_run_abort, run_abort_fields, "wire.run_abort", "gives a run up");
