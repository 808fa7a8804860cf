#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes bcc's packaged C memleak runnable without installing it: peer.sh CACHE_DIR
#
# Leaves CACHE_DIR/memleak, a launcher. Debian 12 does not package the program and has too old a libc for Debian 13's,
# so it is unpacked beside that release's own libraries and started by that release's own loader. The archive is the
# one that apt already uses here; apt's state of this host is neither read for packages nor changed.
# Exit: 0 there is a launcher, 1 the reason why not is on the last line of stderr.
set -euo pipefail

suite=trixie
packages=(libbpf-tools libc6 libelf1t64 zlib1g libzstd1)

die()
{
	echo "$*" >&2
	exit 1
}

[[ $# -eq 1 ]] || die "usage: peer.sh CACHE_DIR"
mkdir -p "$1"
cache=$(cd "$1" && pwd)

if [[ -x $cache/memleak && -e $cache/root ]]; then
	exit 0
fi
if command -v memleak-libbpf > /dev/null; then
	mkdir -p "$cache/root"
	printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v memleak-libbpf)" > "$cache/memleak"
	chmod +x "$cache/memleak"
	exit 0
fi
command -v apt-get > /dev/null || die "no apt-get here"

# The first archive that apt has configured for this release's main component, and the keys it is trusted with.
# shellcheck disable=SC1091
. /etc/os-release
# shellcheck disable=SC2016
uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' "Created-By: Packages" |
	awk -v release="${VERSION_CODENAME:-}" '$1 == release && $2 == "main" { print $3; exit }')
[[ -n $uri ]] || die "apt has no archive configured for ${VERSION_CODENAME:-this release}"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keys ]] && signed="[signed-by=$keys] " || signed=""

apt=$cache/apt
rm -rf "$cache/unpacking" "$cache/root"
mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,parts,debs} "$cache/unpacking"
echo "deb $signed$uri $suite main" > "$apt/sources.list"
: > "$apt/status"
opts=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts"
	-o "Dir::Etc::preferences=$apt/none" -o "Dir::Etc::preferencesparts=$apt/parts"
	-o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
	-o "APT::Default-Release=" -o "APT::Sandbox::User=root" -o "Acquire::Retries=2" -o "APT::Update::Error-Mode=any")
log=$cache/apt.log
timeout 60 apt-get "${opts[@]}" update > "$log" 2>&1 ||
	die "apt-get update for $suite failed: $(grep -m1 '^[EW]:' "$log" || tail -n 1 "$log")"
(cd "$apt/debs" && timeout 60 apt-get "${opts[@]}" download "${packages[@]}") >> "$log" 2>&1 ||
	die "apt-get download failed: $(grep -m1 '^E:' "$log" || tail -n 1 "$log")"
for deb in "$apt"/debs/*.deb; do
	dpkg-deb -x "$deb" "$cache/unpacking" || die "${deb##*/} cannot be unpacked"
done

# Only what is run is kept: the program, the loader, the libraries beside it.
tree=$cache/unpacking
binary=$(find "$tree" -type f \( -name memleak-libbpf -o -name bpf-memleak -o -name memleak \) -perm -u+x | head -n 1)
loader=$(find "$tree" \( -name 'ld-linux-*.so.*' -o -name 'ld-linux.so.*' \) | head -n 1)
libc=$(find "$tree" -name libc.so.6 | head -n 1)
[[ -n $binary && -n $loader && -n $libc ]] || die "the packages hold no memleak, no loader or no libc"
mkdir "$cache/root"
cp -L "$binary" "$loader" "$(dirname "$libc")"/lib*.so.* "$cache/root/"
rm -rf "$tree"
cat > "$cache/memleak" <<END
#!/bin/sh
exec "$cache/root/${loader##*/}" --library-path "$cache/root" "$cache/root/${binary##*/}" "\$@"
END
chmod +x "$cache/memleak"
dpkg-deb -f "$apt"/debs/libbpf-tools_*.deb Version > "$cache/version"
rm -rf "$apt/state" "$apt/cache"
