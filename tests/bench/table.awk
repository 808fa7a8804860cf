# SPDX-License-Identifier: GPL-2.0-or-later
# rows.tsv, then lines of "row variant value": a table for people and its rows as Markdown. With rows.awk.
BEGIN {
	variant_cnt = split("bare leaksweep memleak", variants, " ")
}

END {
	sort_all()
	tell_notes()
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
