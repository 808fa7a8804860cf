# SPDX-License-Identifier: GPL-2.0-or-later
# Lines of "program|run|JSON report": a table of how the program's stacks were walked.
BEGIN {
	FS = "|"
	end_cnt = split("truncated broken no_table no_rule odd_rule unreadable no_code lost", ends, " ")
	format = "%-15s %-7s %9s %9s %7s %7s %7s %7s %8s %8s %8s\n"
	print "Whole stacks. complete, reused: of all; rules: looked up for 1000 frames;"
	print "first: no tables on disk, some seconds; cached: tables from disk.\n"
	printf format, "", "", "", "", "", "frames", "rules", "tables,", "", "memory", "loaded"
	printf format, "program", "run", "stacks", "complete", "reused", "/walk", "/1000", "cached", "rows", "MB", "in ms"
}

# The object `name` of the report's first line.
function object(name,   at, rest)
{
	at = index(head, "\"" name "\":{")
	rest = substr(head, at + length(name) + 3)
	return at ? substr(rest, 1, index(rest, "}")) : ""
}

function field(text, name,   at)
{
	at = index(text, "\"" name "\":")
	return at ? substr(text, at + length(name) + 3) + 0 : 0
}

function share(part, whole)
{
	return whole > 0 ? sprintf("%.*f%%", part == whole || part == 0 ? 0 : part > 0.99 * whole ? 3 : 1, 100 * part / whole) : "-"
}

function per(part, whole, scale)
{
	return whole > 0 ? sprintf("%.1f", scale * part / whole) : "-"
}

{
	getline head < $3
	close($3)
	loss = object("loss")
	unwind = object("unwind")
	walked = field(loss, "stacks_walked")
	reused = field(loss, "stacks_reused")
	cut = 0
	reasons = ""
	for (i = 1; i <= end_cnt; i++) {
		n = field(loss, "stacks_" ends[i])
		name = ends[i]
		gsub(/_/, " ", name)
		if (name == "lost") # walked, but there were too many different ones
			name = "not kept for want of room"
		else
			cut += n
		if (n > 0)
			reasons = reasons ", " n " " name
	}
	n = field(loss, "stacks_deferred")
	if (n > 0)
		reasons = reasons ", " n " left to the tool"
	if (reasons)
		notes[++note_cnt] = $1 ", " $2 ": " substr(reasons, 3)
	printf format, $1, $2, walked + reused, share(walked + reused - cut, walked + reused), share(reused, walked + reused),
		per(field(loss, "frames_walked"), walked, 1),
		per(field(loss, "rules_looked_up"), field(loss, "frames_walked"), 1000),
		field(unwind, "tables") "," field(unwind, "from_cache"), field(unwind, "rows"),
		per(field(unwind, "bytes"), 1048576, 1), per(field(unwind, "load_ns"), 1000000, 1)
}

END {
	if (note_cnt)
		print ""
	for (i = 1; i <= note_cnt; i++)
		print notes[i]
}
