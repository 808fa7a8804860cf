#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots an arm64 kernel of the distribution in qemu with the cross-built tool and a leaker, and holds what the tool
# reports there against the leaker's own ledger. Skips, and says why, when qemu, compiler, libraries or kernel cannot
# be had. OUTPUT= is the cross build's folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

output=${OUTPUT:-build-arm64}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/leaksweep/arm64
sysroot=$cache/sysroot

skip()
{
	echo "arm64: skipped: $1"
	exit 0
}

for program in qemu-system-aarch64 aarch64-linux-gnu-gcc cpio gzip python3; do
	command -v $program >/dev/null || skip "there is no $program (tests/lib/install-deps.sh arm64 installs it)"
done
for what in sysroot kernel; do
	tests/arm64/fetch.sh $what "$cache/$what" || skip "its packages cannot be had"
done
make --no-print-directory ARCH=arm64 CC=aarch64-linux-gnu-gcc OUTPUT="$output" all "$output/leakers/alloc"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,lib,proc,sys,dev,tmp}
cp tests/arm64/init.sh "$root/init"
cp "$sysroot/bin/busybox" "$output/leaksweep" "$output/leakers/alloc" "$root/bin/"

# The programs' libraries, and theirs.
queue=("$root/bin/leaksweep" "$root/bin/alloc")
while [ ${#queue[@]} -gt 0 ]; do
	while read -r name; do
		[ -e "$root/lib/$name" ] && continue
		cp -L "$(find "$sysroot/lib" "$sysroot/usr/lib" -name "$name" | head -n 1)" "$root/lib/$name"
		queue+=("$root/lib/$name")
	done < <(readelf -d "${queue[0]}" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
	queue=("${queue[@]:1}")
done
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs"

status=0
timeout 400 qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on -m 1024 -smp 2 -accel tcg,thread=multi \
	-kernel "$cache"/kernel/boot/vmlinuz-* -initrd "$work/initramfs" -append 'console=ttyAMA0 panic=-1 quiet' \
	-display none -monitor none -serial "file:$work/console" -no-reboot </dev/null || status=$?
[ $status -eq 0 ] || echo "arm64: qemu ended with $status" >&2
if [ -n "${KEEP_CONSOLE-}" ]; then cp "$work/console" "$KEEP_CONSOLE"; fi
tests/arm64/check.py "$work/console"
