/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one instruction does to registers and memory. */
#ifndef LEAKSWEEP_PYTHON_SITE_EFFECT_H
#define LEAKSWEEP_PYTHON_SITE_EFFECT_H

#include <capstone/capstone.h>
#include <stdbool.h>
#include <stdint.h>

#include "python/site_value.h"

/*
 * Applies an instruction, decoded with details, as the `at`-th of the stretch. What is not
 * understood leaves values of which nothing is known. Returns whether it compares a value with 0,
 * which is *ret_tested then.
 */
bool site_effect__apply(struct values *values, const cs_insn *insn, uint16_t at,
			struct value *ret_tested);

#endif
