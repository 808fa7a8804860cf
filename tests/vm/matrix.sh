#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# matrix.sh ROW...: runs each row (KERNEL or KERNEL:preempt=full) in a guest, one after another. Then says what each
# kernel has, and which rows passed, failed or were skipped and why. Fails only when a row failed.
# OUTPUT, TESTS and limits: see run.sh.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
output=${OUTPUT:-build}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
results=()
folders=()
failed=0

# Nothing can be run, which fails nothing.
skip_all()
{
	local row

	for row in "$@"; do
		echo "skipped: kernel $row: $why"
	done
	exit 0
}

if [ "$(uname -m)" != x86_64 ]; then
	why='the guests are for x86-64'
	skip_all "$@"
fi
if [ "$(id -u)" -ne 0 ]; then
	echo 'matrix: sharing the root file system with a guest needs root' >&2
	exit 1
fi
if ! "$here/../lib/install-deps.sh" vm >"$log" 2>&1; then
	why="qemu cannot be had: $(tail -n 1 "$log")"
	skip_all "$@"
fi
if [ ! -x /usr/lib/qemu/virtiofsd ]; then
	why="this distribution's qemu comes without the virtiofsd of Debian 12"
	skip_all "$@"
fi

for row in "$@"; do
	kernel=${row%%:*}
	option=${row#"$kernel"}
	option=${option#:}
	mode=full
	[ "$kernel" = 5.10 ] && mode=refuse
	started=$SECONDS
	echo "== kernel $row"
	MODE=$mode "$here/run.sh" "$kernel" ${option:+"$option"} 2>&1 | tee "$log"
	case ${PIPESTATUS[0]} in
	0) result=passed ;;
	77) result=$(grep -m 1 '^skipped: ' "$log") ;;
	*) result=FAILED failed=1 ;;
	esac
	results+=("$(printf '  %-20s %5d s  %s' "$row" $((SECONDS - started)) "$result")")
	[ "${result%%:*}" = skipped ] || folders+=("$output/vm/$kernel${option:++$option}")
done

echo
[ ${#folders[@]} -eq 0 ] || "$here/features.py" table "${folders[@]}"
echo
printf '%s\n' "${results[@]}"
exit $failed
