# SPDX-License-Identifier: GPL-2.0-or-later
# A file of rows, then lines of "row variant value": what a table of them is made of. Read before the table's own file.
BEGIN {
	FS = "\t"
}

FNR == 1 {
	file++
	FS = file == 1 ? "\t" : " "
	$0 = $0
}

/^#/ || NF < 3 {
	next
}

file == 1 {
	order[++row_cnt] = $1
	unit[$1] = $2
	better[$1] = $3
	what[$1] = $4
	next
}

{
	key = $1 SUBSEP $2
	value[key, ++cnt[key]] = $3 + 0
	seen[$1] = 1
}

# Leaves the values of key in ascending order.
function sort_values(key,   i, j, moved)
{
	for (i = 2; i <= cnt[key]; i++) {
		moved = value[key, i]
		for (j = i - 1; j >= 1 && value[key, j] > moved; j--)
			value[key, j + 1] = value[key, j]
		value[key, j + 1] = moved
	}
}

function median(key,   middle)
{
	middle = int((cnt[key] + 1) / 2)
	return cnt[key] % 2 ? value[key, middle] : (value[key, middle] + value[key, middle + 1]) / 2
}

function number(x)
{
	return x >= 100 ? sprintf("%.0f", x) : x >= 10 ? sprintf("%.1f", x) : sprintf("%.2f", x)
}

function best(row, key)
{
	return better[row] == "less" ? value[key, 1] : value[key, cnt[key]]
}

# How many times worse the best of one variant is than that of another.
function ratio(row, variant, base,   a, b)
{
	if (!cnt[row, variant] || !cnt[row, base])
		return "-"
	a = best(row, row SUBSEP variant)
	b = best(row, row SUBSEP base)
	if (better[row] != "less")
		return a > 0 ? number(b / a) "x" : "-"
	return b > 0 ? number(a / b) "x" : "-"
}

function cell(row, variant,   key, spread)
{
	key = row SUBSEP variant
	if (!cnt[key])
		return "-"
	spread = median(key) > 0 ? 100 * (value[key, cnt[key]] - value[key, 1]) / median(key) : 0
	return sprintf("%s (%s, %s%%)", number(best(row, key)), number(median(key)), spread > 999 ? ">999" : sprintf("%.0f", spread))
}

function sort_all(   key)
{
	for (key in cnt)
		sort_values(key)
}

# The lines of the file `notes`, and whether other load got in the way.
function tell_notes(   line, disturbed, i, key)
{
	while ((getline line < notes) > 0)
		print line
	for (i = 1; i <= row_cnt; i++) {
		key = order[i] SUBSEP "bare"
		if (cnt[key] && better[order[i]] == "less" && median(key) > 1.5 * best(order[i], key))
			disturbed = disturbed (disturbed ? "; " : "") what[order[i]]
	}
	if (disturbed)
		print "not a quiet machine (probes of another program?): half of the bare rounds were slow in: " disturbed
}
