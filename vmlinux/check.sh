#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Holds vmlinux.h against a kernel's BTF: check.sh [BTF-FILE [x86|arm64]]. Every field that bpf/ reads must exist there.
set -euo pipefail
cd "$(dirname "$0")"

btf=${1:-/sys/kernel/btf/vmlinux}
arch=${2:-$(uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')}
bpftool=$(command -v bpftool || echo /usr/sbin/bpftool)
dump=$(mktemp)
trap 'rm -f "$dump"' EXIT
"$bpftool" btf dump file "$btf" format c >"$dump"

awk '
	FNR == 1 { file++ }
	/^struct [a-z_0-9]+ \{/ { name = $2; next }
	/^\}/ { name = ""; next }
	name == "" { next }
	{
		line = $0
		sub(/;.*/, "", line)
		sub(/:[ 0-9]+$/, "", line)
		sub(/\[[0-9]*\]$/, "", line)
		n = split(line, words, /[ \t*]+/)
		field = words[n]
		if (file == 1)
			wanted[name "." field] = 1
		else
			found[name "." field] = 1
	}
	END {
		for (field in wanted)
			if (!(field in found)) {
				print "check: this kernel has no " field
				missing++
			}
		if (!missing)
			print "check: all fields exist"
		exit missing > 0
	}
' <(cat vmlinux.h "$arch.h") "$dump"
