/* SPDX-License-Identifier: MIT */
#include "planner/search/judge.h"
#include "tests/search/models.h"
#include <criterion/criterion.h>
#include <math.h>

/* What rules strategies out is never above what they take: the bound of a point, the bound that
 * judging gives, and the test of what can be held. With plenty of memory and with little. */
Test(judge, bounds_are_below)
{
    static const uint64_t usable_mib[] = {80000, 1400, 1150};
    uint32_t judged = 0, found = 0, not_held = 0;
    kp_arena arena;
    kp_err err = {0};
    kp_gpu_kinds kinds;
    kp_arena_init(&arena, 0);
    cr_assert_eq(kp_gpu_table(&arena, &kinds, &err), KP_OK);
    for (size_t m = 0; m < n_models; m++) {
        const kp_graph *graph = model_read(models[m].text, &arena);
        kp_nodes nodes;
        kp_cluster cluster;
        kp_options options;
        kp_training training;
        kp_schema_init(&kp_schema_options, &options);
        options.batch = 32;
        options.target = KP_TARGET_ANY;
        cr_assert_eq(kp_nodes_invent("2x4xA100-80G", &kinds, &arena, &nodes, &err), KP_OK);
        cr_assert_eq(kp_cluster_make(&nodes, &kinds, UINT32_MAX, UINT32_MAX, &arena, &cluster, &err), KP_OK);
        cr_assert_eq(kp_training_resolve(graph, &options, &arena, &training, &err), KP_OK);
        kp_search_request request = {.graph = graph, .training = &training, .options = &options,
                                     .cluster = &cluster, .sha256 = ""};
        kp_ground chain, ground;
        cr_assert_eq(kp_ground_chain(&request, &arena, &chain, &err), KP_OK);
        cr_assert_eq(kp_ground_make(&chain, cluster.n_slots, &arena, &ground, &err), KP_OK);
        uint32_t *borders = KP_NEW(&arena, uint32_t, ground.max_stages + 1u);
        for (uint32_t i = 0; i < 3 * ground.space.n_points; i++) {
            const kp_point *point = &ground.space.points[i / 3];
            for (uint32_t s = 0; s < cluster.n_slots; s++)
                cluster.slots[s].device.usable_bytes = usable_mib[i % 3] << 20;
            if (!kp_ground_base(&ground, point->tp, point->micro_batch)->divides) continue;
            uint32_t zero = point->dp > 1 ? (i / 3 + i) % 4 : 0;
            kp_recompute recompute = (i + (uint32_t)m) % 2 ? KP_RECOMPUTE_NONE : KP_RECOMPUTE_FULL;
            kp_strategy s = kp_space_strategy(&ground.space, point, zero, recompute);
            kp_verdict_of v;
            cr_assert_eq(kp_ground_judge(&ground, &s, INFINITY, 0, &arena, borders, &v, &err), KP_OK, "%s", err.msg);
            judged++;
            double bound_s = kp_ground_bound_s(&ground, point, recompute);
            cr_expect(bound_s <= v.lower_s * (1 + 1e-9), "%s point %u: %.9g above %.9g", models[m].name, i / 3, bound_s, v.lower_s);
            bool held = recompute == KP_RECOMPUTE_FULL || kp_ground_holds(&ground, point, zero);
            not_held += !held;
            if (!v.found) continue;
            found++;
            cr_expect(held, "%s point %u was ruled out and fits", models[m].name, i / 3);
            cr_expect(v.lower_s <= v.seconds * (1 + 1e-12), "%s point %u", models[m].name, i / 3);
            cr_expect(v.peak_bytes <= usable_mib[i % 3] << 20, "%s point %u", models[m].name, i / 3);
        }
    }
    cr_expect(judged > 200 && found > 100 && found < judged, "%u judged, %u found, %u not held", judged, found, not_held);
    kp_arena_release(&arena);
}
