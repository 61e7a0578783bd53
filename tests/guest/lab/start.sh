#!/bin/sh
# Second program of the guest, on its real root: runs the agent as its only
# child, on the channel that the test holds the other end of, and ends the
# guest with it. As process 1 it also reaps what nobody else waits for.

# An ordinary user may pass through the folders on the way to what it runs.
open_way() {
  folder=$1
  while [ "$folder" != / ]; do
    chmod o+x "$folder"
    folder=$(dirname "$folder")
  done
}

open_way "$IXL_ROOT"
open_way "$(dirname "$IXL_DENO")"
mkdir -p /run/ixl/bin /run/ixl/deno_dir
ln -sf "$IXL_DENO" /run/ixl/bin/deno
kept=$IXL_ROOT/tests/out/lab/deno_dir.tar
[ ! -e "$kept" ] || tar -xf "$kept" -C /run/ixl/deno_dir
# USER in vfio.ts.
mkdir /run/ixl/user
cp -r /run/ixl/deno_dir /run/ixl/user/
chown -R 1000 /run/ixl/user

export PATH="/run/ixl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export HOME=/run/ixl DENO_DIR=/run/ixl/deno_dir NO_COLOR=1
export DENO_NO_UPDATE_CHECK=1

cd "$IXL_ROOT" || exit
for port in /sys/class/virtio-ports/*; do
  if [ "$(cat "$port/name")" = ixl.agent ]; then
    channel=/dev/${port##*/}
  fi
done

deno run -q -A --no-config tests/guest/lab/agent.ts <> "$channel" >&0 2> /dev/console
echo "guest: the agent has ended with $?" > /dev/console
echo o > /proc/sysrq-trigger
sleep 60
