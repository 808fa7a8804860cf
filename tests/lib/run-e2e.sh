#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs end-to-end test programs one after another: run-e2e.sh PROGRAM...
# OUTPUT is the build folder, LIMIT the seconds that one program may take.
set -uo pipefail

if [ "$(id -u)" -ne 0 ]; then
	echo 'run-e2e: end-to-end tests trace processes and need root' >&2
	exit 1
fi

failed=()
for program in "$@"; do
	case $program in */*) ;; *) program=./$program ;; esac
	started=$SECONDS
	OUTPUT=${OUTPUT:-build} timeout -k 10 "${LIMIT:-1200}" "$program"
	code=$?
	echo "== ${program##*/}: exit code $code after $((SECONDS - started)) s"
	[ $code -eq 0 ] || failed+=("${program##*/}")
done

if [ ${#failed[@]} -gt 0 ]; then
	echo "run-e2e: failed: ${failed[*]}" >&2
	exit 1
fi
echo "run-e2e: all $# programs passed"
