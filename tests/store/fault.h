/* SPDX-License-Identifier: MIT
 *
 * tests/store/fault.h — SQLite's file layer with a fault at the nth write or sync.
 *
 * A VFS around the default one. Armed, it counts down writes or syncs and then fails that one and
 * all following with an error code. It stands in for full and dying disks. */
#ifndef KP_TESTS_STORE_FAULT_H
#define KP_TESTS_STORE_FAULT_H

/* Registers it as the default, once a process. */
void kp_fault_install(void);
/* The nth write (nth sync) from now on and all after it fail with `code`; n <= 0: none. */
void kp_fault_arm(int nth_write, int nth_sync, int code);
/* True if a fault was hit since it was armed. */
int kp_fault_hit(void);

/* Power loss. From kp_fault_power_on the layer remembers what each file had at its last sync; at
 * the nth write or sync the power goes: nothing reaches the disk any more. kp_fault_power_off then
 * writes what a disk may hold afterwards to the same files: each sector of 512 bytes as it was
 * synced, or, by `seed`, as it was written since (0: synced ones only). Close the store before. */
void kp_fault_power_on(int nth_call);
void kp_fault_power_off(unsigned seed);

#endif
