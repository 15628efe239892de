/* SPDX-License-Identifier: MIT
 *
 * proto/endpoint.h — what stands behind an address, for the link alone.
 *
 * libzmq is given numbers only: it resolves names in its I/O thread, where an unreachable name
 * server would hang everything, and it deletes whatever file stands at an ipc path when it binds.
 */
#ifndef KP_PROTO_ENDPOINT_H
#define KP_PROTO_ENDPOINT_H

#include "proto/status.h"

#define KP_ENDPOINT_MAX 256 /* bytes of an endpoint with its 0 */

/* The endpoint with its host name as a number ("tcp://127.0.0.1:7400"), IPv4 before IPv6.
 * KP_UNREACHABLE for a name that nobody knows within a second; KP_NOMEM. */
kp_status kp_endpoint_resolve(const char *endpoint, char ret[KP_ENDPOINT_MAX], kp_err *err);

/* One plain connection attempt to a resolved endpoint, closed at once: 0, or the errno
 * (ETIMEDOUT after timeout_s). */
int kp_endpoint_probe(const char *endpoint, double timeout_s);

/* Before a bind: KP_UNREACHABLE if a live daemon listens at an ipc path, KP_USAGE if something
 * other than a socket stands there (libzmq would delete it). tcp endpoints pass. */
kp_status kp_endpoint_vacant(const char *endpoint, kp_err *err);

/* True for an IPv6 address in brackets. */
bool kp_endpoint_is_ipv6(const char *endpoint);

#endif
