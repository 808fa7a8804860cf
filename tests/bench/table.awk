# SPDX-License-Identifier: GPL-2.0-or-later
# rows.tsv, then lines of "row variant value": a table for people and its rows as Markdown.
BEGIN {
	FS = "\t"
	variant_cnt = split("bare leaksweep memleak", variants, " ")
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

END {
	for (key in cnt)
		sort_values(key)
	while ((getline line < notes) > 0)
		print line
	for (i = 1; i <= row_cnt; i++) {
		key = order[i] SUBSEP "bare"
		if (cnt[key] && better[order[i]] == "less" && median(key) > 1.5 * best(order[i], key))
			disturbed = disturbed (disturbed ? "; " : "") what[order[i]]
	}
	if (disturbed)
		print "not a quiet machine (probes of another program?): half of the bare rounds were slow in: " disturbed
	printf "best of %d rounds (median, spread); bystander: a process that is not traced\n\n", rounds
	format = "%-46s %-7s %21s %21s %21s %9s %9s %9s\n"
	printf format, "", "", "", "", "", "leaksweep", "memleak", "leaksweep"
	printf format, "", "unit", "bare", "leaksweep", "memleak", "/bare", "/bare", "/memleak"
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (!seen[row])
			continue
		printf format, what[row], unit[row], cell(row, "bare"), cell(row, "leaksweep"), cell(row, "memleak"),
			ratio(row, "leaksweep", "bare"), ratio(row, "memleak", "bare"), ratio(row, "leaksweep", "memleak")
	}
	print "\n| | unit | bare | leaksweep | memleak | leaksweep / bare | memleak / bare | leaksweep / memleak |"
	print "|---|---|---|---|---|---|---|---|"
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (!seen[row])
			continue
		printf "| %s | %s ", what[row], unit[row]
		for (j = 1; j <= variant_cnt; j++) {
			key = row SUBSEP variants[j]
			printf "| %s ", cnt[key] ? number(best(row, key)) : "-"
		}
		printf "| %s | %s | %s |\n", ratio(row, "leaksweep", "bare"), ratio(row, "memleak", "bare"),
			ratio(row, "leaksweep", "memleak")
	}
}
