/* SPDX-License-Identifier: MIT
 *
 * Field tables: inventories, leases, and the kinds of cards. */
#include "proto/messages.h"
#include "proto/rows.h"

#define T kp_gpu
static const kp_field gpu_fields[] = {
    STR(node, OPT, "node it is in; only in lists over all nodes"),
    STR(uuid, REQ, "UUID, the key of a GPU"),
    U32(index, REQ, "index in the node"),
    STR(name, REQ, "kind, a key of configs/gpus.json if known, else NVML's name"),
    U64(total_bytes, REQ, "bytes of memory"),
    U64(driver_reserved_bytes, REQ, "bytes that the driver keeps"),
    U64(free_bytes, REQ, "bytes that nobody has"),
    ENUM(state, kp_gpu_state_names, REQ, "state"),
    STR(pci_bus_id, OPT, "PCI bus id"),
    STR(compute_capability, OPT, "CUDA compute capability, \"9.0\""),
    STR(serial, OPT, "serial number"),
    U32(minor, OPT, "minor number of the device file"),
    U32(sm_count, OPT, "multiprocessors"),
    U32(numa_node, OPT, "NUMA node"),
    U32(nvlinks, OPT, "active NVLinks"),
    U64(processes, OPT, "compute processes running on it"),
};
#undef T
const kp_schema kp_schema_gpu = SCHEMA(kp_gpu, gpu_fields, "gpu", "one GPU");

#define T kp_host_info
static const kp_field host_info_fields[] = {
    STR(hostname, OPT, "name of the machine"),
    STR(kernel, OPT, "version of the kernel"),
    STR(driver, OPT, "version of the NVIDIA driver"),
    STR(cuda, OPT, "CUDA version of the driver"),
    STR(nccl, OPT, "version of NCCL"),
    U64(memory_total_bytes, OPT, "bytes of host memory"),
    U64(memory_free_bytes, OPT, "bytes of host memory that are available"),
    U64(shm_bytes, OPT, "bytes of /dev/shm"),
    U32(cpus, OPT, "processors"),
};
#undef T
static const kp_schema host_info =
    SCHEMA(kp_host_info, host_info_fields, "host", "the machine around the GPUs");

#define T kp_node
static const kp_field node_fields[] = {
    STR(name, REQ, "name of the node"),
    ENUM(state, kp_node_state_names, REQ, "state"),
    STR(boot_epoch, OPT, "changes with every start of the agent or the machine"),
    BOOL(simulated, REQ, "whether it is invented or recorded, not this machine"),
    STRUCT(host, &host_info, OPT, "the machine"),
    LIST(gpus, &kp_schema_gpu, REQ, "GPUs by index"),
};
#undef T
const kp_schema kp_schema_node = SCHEMA(kp_node, node_fields, "node", "one node");

#define T kp_nodes
static const kp_field nodes_fields[] = {
    U64(revision, REQ, "revision of the cluster, raised by every change"),
    LIST(nodes, &kp_schema_node, REQ, "nodes by name"),
};
#undef T
const kp_schema kp_schema_nodes = SCHEMA(kp_nodes, nodes_fields, "kplan.nodes/1", "an inventory");

#define T kp_gpus
static const kp_field gpus_fields[] = {
    U64(revision, REQ, "revision of the cluster, raised by every change"),
    LIST(gpus, &kp_schema_gpu, REQ, "GPUs of all nodes"),
};
#undef T
const kp_schema kp_schema_gpus = SCHEMA(kp_gpus, gpus_fields, "kplan.gpus/1", "all GPUs");

#define T kp_lease
static const kp_field lease_fields[] = {
    STR(id, REQ, "id of the lease, ls_..."),
    STR(plan, REQ, "id of the plan"),
    U64(fence, REQ, "number that rises with every grant"),
    STR(owner, NUL, "who asked for it"),
    STRS(gpus, REQ, "UUIDs of the GPUs"),
    STR(granted, REQ, "when it was granted, RFC 3339 in UTC"),
    STR(expires, REQ, "when it ends, RFC 3339 in UTC"),
    ENUM(state, kp_lease_state_names, REQ, "state"),
};
#undef T
const kp_schema kp_schema_lease = SCHEMA(kp_lease, lease_fields, "lease", "a reservation");

#define T kp_leases
static const kp_field leases_fields[] = {
    LIST(leases, &kp_schema_lease, REQ, "leases, the newest first"),
};
#undef T
const kp_schema kp_schema_leases =
    SCHEMA(kp_leases, leases_fields, "kplan.leases/1", "reservations");

#define T kp_gpu_kind
static const kp_field gpu_kind_fields[] = {
    STR(key, REQ, "name of the kind, \"H100-SXM5-80GB\""),
    STRS(aliases, OPT, "other names that people type"),
    STR(nvml_name, NUL, "name as NVML gives it"),
    U64(total_bytes, NUL, "bytes of memory"),
    U64(driver_reserved_bytes, NUL, "bytes that the driver keeps"),
    F64(memory_bytes_per_s, NUL, "bytes a second from and to its memory"),
    F64(fp64_flops_per_s, NUL, "dense FLOP a second in float64"),
    F64(fp32_flops_per_s, NUL, "dense FLOP a second in float32"),
    F64(tf32_flops_per_s, NUL, "dense FLOP a second in TF32"),
    F64(fp16_flops_per_s, NUL, "dense FLOP a second in float16"),
    F64(bf16_flops_per_s, NUL, "dense FLOP a second in bfloat16"),
    F64(link_bytes_per_s, NUL, "bytes a second to a peer in the node, one direction"),
    F64(link_fixed_s, NUL, "seconds that a collective in the node takes at least"),
    F64(net_bytes_per_s, NUL, "bytes a second of the network for each GPU"),
    F64(net_fixed_s, NUL, "seconds of one hop between nodes"),
    STR(compute_capability, NUL, "CUDA compute capability"),
    U32(sm_count, NUL, "multiprocessors"),
    STR(source, NUL, "where the numbers come from"),
};
#undef T
static const kp_schema gpu_kind =
    SCHEMA(kp_gpu_kind, gpu_kind_fields, "gpu_kind", "one kind of card");

#define T kp_gpu_kinds
static const kp_field gpu_kinds_fields[] = {
    LIST(gpus, &gpu_kind, REQ, "kinds of cards"),
};
#undef T
const kp_schema kp_schema_gpu_kinds =
    SCHEMA(kp_gpu_kinds, gpu_kinds_fields, "gpu_kinds", "configs/gpus.json");
