#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fetch-kernel.sh KERNEL: has Debian's newest cloud kernel of a series (5.10, 6.1, 6.12, 7.2) in the cache and prints
# its folder, in which are vmlinuz, modules/ (what a guest needs, with their order) and release.
# Everything comes through apt with this machine's own archive, proxies and keys; what is in the cache stays.
# Exits 77 with "skipped: kernel KERNEL: WHY" when it cannot be had. VM_CACHE is the cache.
set -euo pipefail

kernel=${1:?usage: fetch-kernel.sh KERNEL}
cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leaksweep/vm}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

skip()
{
	echo "skipped: kernel $kernel: $1" >&2
	exit 77
}

# Which archive (by apt's label) and which suites have this series, best first.
case $kernel in
5.10) sources=(Debian-Security:bullseye-security) ;;
6.1) sources=(Debian-Security:bookworm-security Debian:bookworm) ;;
6.12) sources=(Debian:bookworm-backports) ;;
7.*) sources=(Debian:sid) ;;
*) skip 'no Debian suite is known to have it' ;;
esac

# configured_uri LABEL: where this machine gets that archive from
configured_uri()
{
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk -v label="$1" '$1 == label { print $2; exit }'
}

# An apt of our own: the machine's configuration with other sources, lists and cache.
make_apt()
{
	local suite=$1 uri=$2

	apt=$cache/apt/$suite
	mkdir -p "$apt"/{lists/partial,archives/partial}
	echo "deb [signed-by=$keyring] $uri $suite main" >"$apt/sources.list"
	apt_options=(-qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=-
		     -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives"
		     -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::http::Timeout=60)
	apt-get "${apt_options[@]}" -o APT::Update::Error-Mode=any update >"$apt/log" 2>&1
}

# The newest kernel of the series in this apt. From 7 on the image only depends on the packages with the files.
find_packages()
{
	local series=${kernel//./\\.} names newest

	names=$(apt-cache "${apt_options[@]}" pkgnames linux-)
	newest=$(grep -E "^linux-binary-$series\.[^~]*-cloud-amd64$" <<<"$names" | sort -V | tail -n 1) || true
	packages=("$newest" "${newest/#linux-binary/linux-modules}" "${newest/#linux-binary/linux-base}")
	[ -n "$newest" ] && return
	newest=$(grep -E "^linux-image-$series\.[^~]*-cloud-amd64$" <<<"$names" | sort -V | tail -n 1) || true
	packages=("$newest")
	[ -n "$newest" ]
}

# From unpacked packages in $root to what a guest needs, in $made.
keep_what_boots()
{
	local release image module

	[ -d "$root/lib/modules" ] || { mkdir -p "$root/lib" && mv "$root/usr/lib/modules" "$root/lib/"; }
	release=$(ls "$root/lib/modules")
	image=$(find "$root" -name 'vmlinuz*' -type f -print -quit)
	if [ -z "$release" ] || [ -z "$image" ]; then
		echo "fetch-kernel: ${packages[*]}: not the files of a kernel" >&2
		exit 1
	fi
	depmod -b "$root" "$release"
	mkdir -p "$made/modules"
	for module in virtio_pci virtiofs overlay; do
		modprobe -d "$root" -S "$release" --show-depends $module
	done >"$made/depends"
	awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$made/depends" >"$made/list"
	while read -r module; do
		case $module in
		*.xz) xz -dc "$module" >"$made/modules/$(basename "$module" .xz)" ;;
		*) cp "$module" "$made/modules/" ;;
		esac
		basename "$module" .xz >>"$made/modules/order"
	done <"$made/list"
	rm "$made/list" "$made/depends"
	cp "$image" "$made/vmlinuz"
	echo "$release" >"$made/release"
}

fetch()
{
	local source suite uri why='no archive that could have it is configured for apt'

	for source in "${sources[@]}"; do
		suite=${source#*:}
		uri=$(configured_uri "${source%%:*}")
		[ -n "$uri" ] || continue
		if ! make_apt "$suite" "$uri"; then
			why="apt cannot read suite $suite: $(grep -m 1 '^[EW]:' "$apt/log" || echo 'no reason given')"
		elif ! find_packages; then
			why="suite $suite has no such kernel"
		elif ! (cd "$apt/archives" && apt-get "${apt_options[@]}" download "${packages[@]}" >"$apt/log" 2>&1); then
			why="apt cannot download ${packages[*]}: $(grep -m 1 '^[EW]:' "$apt/log" || true)"
		else
			return 0
		fi
	done
	skip "$why"
}

for tool in apt-get depmod modprobe xz; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -e "$cache/$kernel/release" ]; then
	[ -r $keyring ] || skip 'the keys of the Debian archive are not installed'
	# A fresh machine has no lists yet, from which apt knows whose its archives are.
	[ -n "$(configured_uri Debian)" ] || apt-get -qq update >/dev/null 2>&1 || true
	fetch
	made=$(mktemp -d "$cache/new-XXXXXX")
	root=$made/root
	trap 'rm -rf "$made"' EXIT
	for package in "$apt"/archives/*.deb; do
		dpkg -x "$package" "$root"
	done
	keep_what_boots
	rm -rf "$root" "$cache/apt" "${cache:?}/$kernel"
	mv "$made" "$cache/$kernel"
	chmod 755 "$cache/$kernel"
fi
echo "$cache/$kernel"
