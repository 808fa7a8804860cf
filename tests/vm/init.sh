#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The first process of a guest: the host's root, read-only, becomes its root, with room for temporary files on top.
# /settings has TREE, BUILD and the rest of what guest.sh wants to know (see run.sh).
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
. /settings

if [ -n "$PROBE" ]; then
	echo 'VMRESULT rc=0'
	exec /exit 0
fi
while read -r module; do
	insmod "/modules/$module" || echo "insmod $module failed"
done </modules/order
mkdir -p /root /keep/tree /keep/build
if ! mount -t virtiofs -o ro host /root; then
	echo 'the root of the host cannot be mounted'
	exec /exit 98
fi

# The tree and what is built of it may be in a folder that gets a temporary file system.
mount --bind "/root$TREE" /keep/tree
mount --bind "/root$BUILD" /keep/build
for dir in tmp run var/tmp; do
	mount -t tmpfs tmpfs "/root/$dir"
	chmod 1777 "/root/$dir"
done
mkdir -p "/root$TREE" "/root$BUILD" /root/run/vm-out
mount --move /keep/tree "/root$TREE"
mkdir -p "/root$BUILD"
mount --move /keep/build "/root$BUILD"
mount -t virtiofs out /root/run/vm-out
cp /exit /root/run/vm-exit
cp /settings /root/run/vm-settings
for dir in proc sys dev; do
	mount --move /$dir /root/$dir
done
exec switch_root -c /dev/console /root /bin/bash "$TREE/tests/vm/guest.sh"
