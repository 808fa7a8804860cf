#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs unit test programs one after another until one fails: run-unit.sh PROGRAM...
# TEST_PATIENCE is a factor on the seconds that one program may take.
set -uo pipefail

limit=$((600 * ${TEST_PATIENCE:-1}))
for program in "$@"; do
	case $program in */*) ;; *) program=./$program ;; esac
	started=$SECONDS
	timeout -k 10 "$limit" "$program"
	code=$?
	if [ $((SECONDS - started)) -ge "$limit" ]; then
		echo "run-unit: ${program##*/} timed out after $limit s" >&2
	elif [ $code -ne 0 ]; then
		echo "run-unit: ${program##*/} failed: exit code $code" >&2
	fi
	[ $code -eq 0 ] || exit 1
done
