#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `make install` puts where, and that it is whole: the unit is one for systemd, the config file names every option of
# the sweep, uninstall takes away what it brought. OUTPUT is the build folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

complain()
{
	echo "check-install: $*" >&2
	exit 1
}

make_in_root()
{
	make -s OUTPUT="${OUTPUT:-build}" DESTDIR="$root" PREFIX=/opt/tools "$@" >/dev/null
}

files()
{
	(cd "$root" && find . ! -type d -printf '%m %P\n' | sort -k 2)
}

expect_files()
{
	diff <(cat) <(files) >&2 || complain "$1"
}

config=$root/etc/leaksweep/sweep.conf
unit=$root/opt/tools/lib/systemd/system/leaksweep.service

make_in_root install
expect_files 'other files are installed' <<-END
	644 etc/leaksweep/sweep.conf
	644 opt/tools/lib/systemd/system/leaksweep.service
	755 opt/tools/sbin/leaksweep
END

grep -q '^ExecStart=/opt/tools/sbin/leaksweep sweep --config /etc/leaksweep/sweep.conf$' "$unit" ||
	complain 'the unit starts something else'
if command -v systemd-analyze >/dev/null; then
	sed -i "s|=/opt/tools|=$root/opt/tools|" "$unit"
	systemd-analyze verify --man=no "$unit" || complain 'systemd does not take the unit'
else
	echo 'check-install: systemd-analyze is not here: the unit is not verified'
fi

# Every option but the file's own stands in the file, and as a comment.
diff <("$root/opt/tools/sbin/leaksweep" sweep --help | grep -o -- '--[a-z-]*' | sort -u | grep -vx -- --config) \
	<(sed -n 's/^#\([a-z-]*\) = .*/--\1/p' "$config" | sort -u) >&2 ||
	complain 'the config file names other options than --help'
! grep -v '^\(#.*\)\?$' "$config" >&2 || complain 'the config file sets something'

# A changed config file stays, through an update too.
echo 'interval = 10s' >>"$config"
make_in_root install
grep -q '^interval = 10s$' "$config" || complain 'a changed config file is replaced'
make_in_root uninstall
expect_files 'uninstall leaves or takes too much' <<-END
	644 etc/leaksweep/sweep.conf
END
rm "$config"
make_in_root install
make_in_root uninstall
expect_files 'uninstall leaves something' </dev/null
[ ! -e "$root/etc/leaksweep" ] || complain 'uninstall leaves a folder'
echo 'check-install: whole'
