#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetches the arm64 libraries that a cross build links and the kernel that the smoke test boots, from wherever apt is
# configured to fetch, with package lists of its own: the machine's architectures and packages stay as they are.
#   fetch.sh sysroot DIR    libraries, headers and a busybox below DIR; DIR/complete is made last
#   fetch.sh kernel DIR     boot/vmlinuz-* below DIR; the same
set -euo pipefail

what=$1 dir=$2
libraries=(libbpf-dev libelf-dev libdw-dev libcapstone-dev libjemalloc-dev libjson-c-dev zlib1g-dev liblzma-dev
           libiberty-dev libc6-dev linux-libc-dev libgcc-12-dev)

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -e "$dir/complete" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial
: >"$work/status"
cat >"$work/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
END
export APT_CONFIG=$work/apt.conf

# Lists that this machine has beside its distribution's may have nothing for arm64: what is missing is told below.
apt-get update -qq >"$work/log" 2>&1 || true

if [ "$what" = kernel ]; then
	image=$(apt-cache depends --important linux-image-cloud-arm64 2>>"$work/log" |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
	fetch() { (cd "$work/archives" && apt-get download -qq "$image"); }
else
	fetch() { apt-get install -qq -y --download-only --no-install-recommends "${libraries[@]}" busybox-static; }
fi
if ! fetch >>"$work/log" 2>&1; then
	tail -n 5 "$work/log" >&2
	echo "arm64: apt could not fetch the $what packages" >&2
	exit 1
fi
for package in "$work"/archives/*.deb; do
	dpkg -x "$package" "$dir"
done
: >"$dir/complete"
