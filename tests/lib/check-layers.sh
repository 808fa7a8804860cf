#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The rules that keep the flow one-directional, as far as the linker cannot see them. Says every line that breaks one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

complain()
{
	while IFS= read -r line; do
		echo "check-layers: $line: $1"
	done
}

# folders_but STAGE...: the folders of all other stages
folders_but()
{
	local dir keep
	for dir in src/*/; do
		dir=${dir%/}
		for keep in "$@"; do
			[ "$dir" = "src/$keep" ] && continue 2
		done
		echo "$dir"
	done
}

# forbid PATTERN SENTENCE STAGE...: only these stages may have the pattern in their code
forbid()
{
	local pattern=$1 sentence=$2
	shift 2
	mapfile -t folders < <(folders_but "$@")
	case " $* " in *' cli '*) ;; *) folders+=(src/main.c) ;; esac	# main.c is the command layer too
	find "${folders[@]}" -name '*.[ch]' 2>/dev/null | sort |
		PATTERN=$pattern xargs -d '\n' -r awk '{
			line = $0
			gsub(/\/\*[^*]*\*\/|\/\/.*/, "", line)
			if (line !~ /^[ \t]*(\/\*|\*)/ && line ~ ENVIRON["PATTERN"])
				print FILENAME ":" FNR
		}' | complain "$sentence"
}

check_all()
{
	forbid '#include.*\.skel\.h' 'only attach/ includes the skeleton' attach
	forbid '#include[ \t]*[<"]bpf/' 'only attach/ and collect/ include <bpf/...>' attach collect
	forbid '#include[ \t]*[<"]((elfutils/)?(libelf|gelf|libdw|libdwfl|dwarf|libdwelf|libebl|known-dwarf|libasm)\.h)' \
		'only discover/, unwind/ and symbolize/ include elfutils headers' discover unwind symbolize
	forbid '(^|[^a-z_])(printf|puts|putchar|vprintf)[ \t]*\(|(^|[^a-zA-Z_])stdout([^a-zA-Z_]|$)|STDOUT_FILENO' \
		'only report/ and cli/ write to stdout' report cli

	# A stage includes its own headers, those of the stages it may use (USES_ in the Makefile), and include/.
	# attach/ and collect/ also share pure helpers with the kernel side.
	local stages stage allowed file line include used dir

	stages=$(sed -n 's/^STAGES := //p' Makefile)
	for stage in $stages; do
		[ -d "src/$stage" ] || continue
		allowed=" $stage include $(sed -n "s/^USES_$stage := *//p" Makefile) "
		case $stage in attach | collect) allowed+="bpf " ;; esac
		while IFS=: read -r file line include; do
			used=${include#*\"}
			used=${used%\"*}
			case $used in
			*/*) ;;
			*) continue ;;	# generated, or a file beside this one
			esac
			used=${used#src/}
			case $allowed in
			*" ${used%%/*} "*) ;;
			*) echo "$file:$line" | complain "$stage/ may not use ${used%%/*}/ (USES_$stage in the Makefile)" ;;
			esac
		done < <(grep -nE --include='*.[ch]' -r '^[ \t]*#[ \t]*include[ \t]*"' "src/$stage")
	done

	for dir in src/*/; do
		compgen -G "$dir*.[ch]" >/dev/null || continue	# no code: what is installed beside it
		dir=${dir#src/}
		case " $stages " in
		*" ${dir%/} "*) ;;
		*) echo "src/${dir%/}" | complain 'not a stage of the Makefile' ;;
		esac
	done
}

complaints=$(check_all)
if [ -n "$complaints" ]; then
	echo "$complaints" >&2
	exit 1
fi
echo 'check-layers: the flow is one-directional'
