# SPDX-License-Identifier: GPL-2.0-or-later
# Writes one part of the program `names`: awk -v part=NN -v parts="01 02 ..." -v functions=500; part "main" calls all.
BEGIN {
	print "#include \"names.h\"\n"
	if (part == "main")
		write_main()
	else
		write_part()
}

function write_part(   i)
{
	for (i = 0; i < functions; i++) {
		printf "FRAME_FN static void hold_%s_%d(void)\n{\n\thold(%d);\n}\n\n", part, i, 16 + i % 64
	}
	printf "extern const hold_fn part_%s[];\nconst hold_fn part_%s[] = {\n", part, part
	for (i = 0; i < functions; i++)
		printf "\thold_%s_%d,\n", part, i
	print "\tNULL,\n};"
}

# The program says READY, waits for a newline, allocates, says DONE and stays until stdin ends.
function write_main(   list, cnt, i)
{
	cnt = split(parts, list, " ")
	for (i = 1; i <= cnt; i++)
		printf "extern const hold_fn part_%s[];\n", list[i]
	print "\nvoid **chain;\nstatic const hold_fn *const all[] = {"
	for (i = 1; i <= cnt; i++)
		printf "\tpart_%s,\n", list[i]
	print "};\n\nint main(void)\n{"
	print "\tputs(\"READY\");\n\tfflush(stdout);\n\tif (getchar() == EOF)\n\t\treturn 0;"
	print "\tfor (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)"
	print "\t\tfor (const hold_fn *fn = all[i]; *fn; fn++)\n\t\t\t(*fn)();"
	print "\tputs(\"DONE\");\n\tfflush(stdout);\n\twhile (getchar() != EOF)\n\t\t;\n\treturn 0;\n}"
}
