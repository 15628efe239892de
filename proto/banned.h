/* SPDX-License-Identifier: MIT
 *
 * proto/banned.h — calls that cannot state a limit do not compile. */
#ifndef KP_PROTO_BANNED_H
#define KP_PROTO_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef atof
#undef gets
#define strcpy(d, s)       kp_banned_strcpy
#define strcat(d, s)       kp_banned_strcat
#define sprintf(...)       kp_banned_sprintf
#define vsprintf(...)      kp_banned_vsprintf
#define strtok(s, d)       kp_banned_strtok
#define atoi(s)            kp_banned_atoi
#define atol(s)            kp_banned_atol
#define atof(s)            kp_banned_atof
#define gets(s)            kp_banned_gets

#endif
