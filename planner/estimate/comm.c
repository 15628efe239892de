/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/comm.c — how long a collective takes.
 *
 * A link is a line. Inside a node: fixed + wire bytes / rate with ring wire bytes
 * (kp_coll_wire_bytes). Over k nodes with L ranks of the group on each: the part inside the node,
 * then 1/L of the tensor between nodes, with log2 k hops (hierarchical rings; NVLS and trees are
 * faster, so this is an upper bound for large messages). Sources: nccl-tests doc/PERFORMANCE.md;
 * Thakur et al. 2005. */
#include "planner/estimate/cost.h"
#include <math.h>

/* Ranks of the group that one node holds: ranks are given node by node, `stride` apart. Groups that
 * would fit a node but do not divide it: some lie over two nodes, and those are the slow ones. */
static uint32_t per_node(uint32_t ranks, uint32_t stride, const kp_cluster *cluster)
{
    uint32_t gpus = cluster->gpus_per_node ? cluster->gpus_per_node : 1;
    uint64_t span = (uint64_t)ranks * stride;
    if (cluster->n_nodes < 2 || (span <= gpus && gpus % span == 0)) return ranks;
    if (span <= gpus) return (ranks + 1) / 2;
    uint32_t n = gpus / stride;
    return n < 1 ? 1 : n < ranks ? n : ranks;
}

double kp_coll_time_s(kp_coll coll, uint32_t ranks, uint32_t stride, uint64_t bytes,
                      const kp_cluster *cluster)
{
    if (ranks < 2 || coll == KP_COLL_NONE || coll == KP_COLL_SLICE || !bytes) return 0;
    uint32_t local = per_node(ranks, stride ? stride : 1, cluster);
    uint32_t nodes = (ranks + local - 1) / local;
    if (coll == KP_COLL_SEND_RECV)
        return kp_line_at(nodes > 1 ? cluster->inter : cluster->intra, (double)bytes);
    if (nodes == 1) return kp_line_at(cluster->intra, kp_coll_wire_bytes(coll, ranks, bytes));
    double inside_s =
        local > 1 ? kp_line_at(cluster->intra, kp_coll_wire_bytes(coll, local, bytes)) : 0;
    double wire = kp_coll_wire_bytes(coll, nodes, bytes / local);
    return inside_s + cluster->inter.fixed_s * (1 + log2(nodes)) + wire * cluster->inter.s_per_byte;
}
