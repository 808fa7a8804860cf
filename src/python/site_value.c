/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_value.h"

/* All arithmetic is modulo 2^64, which signed types do not have. */
static int64_t plus(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t times(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a * (uint64_t)b);
}

static struct value of_symbol(uint16_t symbol)
{
	return (struct value){.symbol = symbol, .factor = 1};
}

static struct value add_symbol(struct values *values, struct symbol symbol)
{
	if (values->symbol_cnt >= MAX_SITE_SYMBOLS) {
		values->is_full = true;
		return of_symbol(MAX_SITE_SYMBOLS - 1);
	}
	values->symbols[values->symbol_cnt] = symbol;
	return of_symbol(values->symbol_cnt++);
}

/* The one symbol of this meaning. */
static struct value intern(struct values *values, struct symbol symbol)
{
	for (uint16_t i = 1; i < values->symbol_cnt; i++) {
		const struct symbol *known = &values->symbols[i];

		if (known->kind == symbol.kind && known->size == symbol.size &&
		    value__is_same(known->a, symbol.a) && value__is_same(known->b, symbol.b))
			return of_symbol(i);
	}
	return add_symbol(values, symbol);
}

void values__begin(struct values *values)
{
	values->symbol_cnt = 1; /* 0 is none */
	values->store_cnt = 0;
	values->is_full = false;
	for (int reg = 0; reg < GPR_CNT; reg++)
		values->regs[reg] = values__any(values, 8);
}

struct value value__plus(struct value value, int64_t add)
{
	value.add = plus(value.add, add);
	return value;
}

struct value value__times(struct value value, int64_t factor)
{
	value.factor = times(value.factor, factor);
	value.add = times(value.add, factor);
	if (!value.factor)
		value.symbol = 0;
	return value;
}

bool value__is_initial(struct value value, enum gpr reg)
{
	return value.symbol == reg + 1 && value.factor == 1;
}

struct value values__any(struct values *values, uint8_t size)
{
	return add_symbol(values, (struct symbol){.kind = SYMBOL_ANY, .size = size});
}

struct value values__add(struct values *values, struct value a, struct value b)
{
	struct value sum, swap;

	if (value__is_const(b))
		return value__plus(a, b.add);
	if (value__is_const(a))
		return value__plus(b, a.add);
	if (a.symbol == b.symbol) {
		sum = a;
		sum.factor = plus(a.factor, b.factor);
		if (!sum.factor)
			sum.symbol = 0;
		return value__plus(sum, b.add);
	}
	if (a.symbol > b.symbol) {
		swap = a;
		a = b;
		b = swap;
	}
	/* Constants stay outside, so that the same sum is the same symbol. */
	sum = intern(values, (struct symbol){.kind = SYMBOL_SUM,
					     .a = {.symbol = a.symbol, .factor = a.factor},
					     .b = {.symbol = b.symbol, .factor = b.factor}});
	return value__plus(value__plus(sum, a.add), b.add);
}

struct value values__and(struct values *values, struct value a, struct value b)
{
	if (value__is_const(a) && value__is_const(b))
		return value_const(a.add & b.add);
	return intern(values, (struct symbol){.kind = SYMBOL_AND, .a = a, .b = b});
}

struct value values__low(struct values *values, struct value value)
{
	const struct symbol *symbol = &values->symbols[value.symbol];
	struct value low = value;

	if (!value__is_const(value) && symbol->kind != SYMBOL_LOW &&
	    !((symbol->kind == SYMBOL_LOAD || symbol->kind == SYMBOL_ANY) && symbol->size <= 4))
		low = intern(values,
			     (struct symbol){.kind = SYMBOL_LOW, .a = of_symbol(value.symbol)});
	if (!value__is_const(value))
		low.factor = (int32_t)value.factor;
	low.add = (int32_t)value.add;
	if (!low.factor)
		low.symbol = 0;
	return low;
}

/* ---- memory ---------------------------------------------------------------------------------- */

bool stored__overlaps(const struct stored *stored, struct value addr, uint16_t size)
{
	int64_t distance = (int64_t)((uint64_t)addr.add - (uint64_t)stored->addr.add);

	if (stored->addr.symbol != addr.symbol || stored->addr.factor != addr.factor)
		return false;
	return distance < (int64_t)stored->size && distance > -(int64_t)size;
}

struct value values__load(struct values *values, struct value addr, uint8_t size)
{
	if (size != 4 && size != 8)
		return values__any(values, size < 4 ? 4 : 8);
	for (uint16_t i = values->store_cnt; i-- > 0;) {
		const struct stored *stored = &values->stores[i];

		if (!stored__overlaps(stored, addr, size))
			continue;
		if (stored->addr.add == addr.add && stored->size == size)
			return stored->value;
		return values__any(values, size);
	}
	return intern(values, (struct symbol){.kind = SYMBOL_LOAD, .size = size, .a = addr});
}

void values__store(struct values *values, struct value addr, uint16_t size, struct value value,
		   uint16_t at)
{
	if (values->store_cnt >= MAX_SITE_STORES) {
		values->is_full = true;
		return;
	}
	values->stores[values->store_cnt++] =
		(struct stored){.addr = addr, .value = value, .size = size, .at = at};
}

const struct symbol *values__as_load(const struct values *values, struct value value, uint8_t size)
{
	const struct symbol *symbol = &values->symbols[value.symbol];

	if (!value.symbol || value.factor != 1 || value.add || symbol->kind != SYMBOL_LOAD ||
	    symbol->size != size)
		return NULL;
	return symbol;
}
