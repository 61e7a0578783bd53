#!/bin/busybox sh
# First program of the guest: makes the host's root its own, in a copy that
# takes writes in memory, and starts the second program there.
PATH=/bin
export PATH

die() {
  echo "guest init: $1"
  busybox poweroff -f
}

# Does this machine's KVM run a guest at all? It does, if this line comes out.
if [ -n "$IXL_PROBE" ]; then
  echo "guest init: a probe"
  busybox poweroff -f
fi

busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/shm /dev/pts
busybox mount -t tmpfs shm /dev/shm
busybox mount -t devpts pts /dev/pts

while read -r module; do
  busybox insmod "/modules/$module" || die "cannot load $module"
done < /modules/order

# The largest message that 9p takes over virtio.
options=trans=virtio,version=9p2000.L,msize=512000,cache=loose
busybox mount -t 9p -o "ro,$options" root /host || die "no root over 9p"
busybox mount -t tmpfs -o size=75% memory /memory
busybox mkdir /memory/upper /memory/work
busybox mount -t overlay root /root \
  -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work ||
  die "no root that takes writes"
busybox ip link set lo up
busybox hostname guest
for name in sys dev proc; do
  busybox mount --move "/$name" "/root/$name" || die "cannot move /$name"
done

# The kernel's command line says where the checkout is.
exec busybox switch_root /root /bin/sh "$IXL_ROOT/tests/guest/lab/start.sh"
