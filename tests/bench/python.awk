# SPDX-License-Identifier: GPL-2.0-or-later
# python.tsv, then lines of "row variant value": what tracing a Python costs, a table of all ways to trace it and one of
# what has no peer, for people and as Markdown. With rows.awk.
BEGIN {
	variant_cnt = split("bare default frames frees malloc1 malloc25", variants, " ")
	split("bare;leaksweep;no objects;with frees;tracemalloc 1;tracemalloc 25", titles, ";")
}

function is_compared(row)
{
	return cnt[row, "default"]
}

function text_table(   i, j, row)
{
	printf "%-44s %-10s", "", "unit"
	for (j = 1; j <= variant_cnt; j++)
		printf j == 1 ? " %18s" : " %18s %8s", titles[j], "/bare"
	print ""
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (!is_compared(row))
			continue
		printf "%-44s %-10s %18s", what[row], unit[row], cell(row, "bare")
		for (j = 2; j <= variant_cnt; j++)
			printf " %18s %8s", cell(row, variants[j]), ratio(row, variants[j], "bare")
		print ""
	}
}

function text_rest(   i, row)
{
	printf "\nthe process with %s blocks and %s modules\n%-44s %-10s %18s %18s %8s\n", blocks, modules, "", "unit", "bare", "leaksweep", "/bare"
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (seen[row] && !is_compared(row))
			printf "%-44s %-10s %18s %18s %8s\n", what[row], unit[row], cell(row, "bare"), cell(row, "leaksweep"),
				ratio(row, "leaksweep", "bare")
	}
}

function markdown_cell(row, variant)
{
	return cnt[row, variant] ? number(best(row, row SUBSEP variant)) : "-"
}

function markdown_table(   i, j, row)
{
	printf "\n| | unit "
	for (j = 1; j <= variant_cnt; j++)
		printf j == 1 ? "| %s " : "| %s | / bare ", titles[j]
	printf "|\n|---|---"
	for (j = 1; j < 2 * variant_cnt; j++)
		printf "|---"
	print "|"
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (!is_compared(row))
			continue
		printf "| %s | %s | %s ", what[row], unit[row], markdown_cell(row, "bare")
		for (j = 2; j <= variant_cnt; j++)
			printf "| %s | %s ", markdown_cell(row, variants[j]), ratio(row, variants[j], "bare")
		print "|"
	}
}

function markdown_rest(   i, row)
{
	print "\n| | unit | bare | leaksweep | / bare |\n|---|---|---|---|---|"
	for (i = 1; i <= row_cnt; i++) {
		row = order[i]
		if (seen[row] && !is_compared(row))
			printf "| %s | %s | %s | %s | %s |\n", what[row], unit[row], markdown_cell(row, "bare"),
				markdown_cell(row, "leaksweep"), ratio(row, "leaksweep", "bare")
	}
}

END {
	sort_all()
	tell_notes()
	printf "best of %d rounds (median, spread)\n\n", rounds
	text_table()
	text_rest()
	markdown_table()
	markdown_rest()
}
