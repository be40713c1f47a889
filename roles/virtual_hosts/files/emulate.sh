#!/bin/sh
# One emulated machine: makes its disk the first time, gives it this container's place in the lab's network, and runs it.
# Environment: NAME, ADDRESS, PREFIX (its length), GATEWAY, MACHINE (x86_64 or aarch64), CPUS, MEMORY_MB, DISK_GIB, IMAGE.
# /host: the machine's file system with /boot/vmlinuz and /boot/initrd; /ssh: its keys; /disk: where its disk is kept.
set -eu

# The kernel comes from the image: a disk made from another one would not have its modules.
if [ "$(cat /disk/made 2> /dev/null)" != "$IMAGE $DISK_GIB" ]; then
  echo "making the disk of $NAME"
  rm -f /disk/root.img /disk/made
  truncate --size="${DISK_GIB}G" /disk/root.img
  mke2fs -q -t ext4 -E lazy_itable_init=1 -d /host /disk/root.img
  echo "$IMAGE $DISK_GIB" > /disk/made
fi
rm -f /run/ssh.img
mke2fs -q -t ext4 -L socklab-ssh -d /ssh /run/ssh.img 4M

# The container's address becomes the machine's: a bridge without an address joins the two.
ip address flush dev eth0
ip link add br0 type bridge
ip link set eth0 master br0
ip tuntap add tap0 mode tap
ip link set tap0 master br0
for device in eth0 tap0 br0; do ip link set "$device" up; done
mac=$(printf '52:54:00:%02x:%02x:%02x' $(echo "${ADDRESS#*.}" | tr . ' '))

# mitigations=off nokaslr: else the kernel keeps page tables of its own, and under emulation each system call then flushes every
# cached translation. There is nobody in this machine to be kept from reading its kernel.
case $MACHINE in
  aarch64) set -- -machine virt -cpu neoverse-n1 ; console=ttyAMA0 ;;
  x86_64) set -- -machine q35 -cpu Nehalem ; console=ttyS0 ;;
esac
exec "qemu-system-$MACHINE" "$@" -name "$NAME" -accel tcg,thread=multi -smp "$CPUS" -m "$MEMORY_MB" \
  -nodefaults -no-user-config -display none -serial stdio -sandbox on \
  -kernel /host/boot/vmlinuz -initrd /host/boot/initrd \
  -append "console=$console quiet mitigations=off nokaslr systemd.hostname=$NAME net.ifnames=0 ip=$ADDRESS::$GATEWAY:$PREFIX::eth0:off" \
  -drive "file=/disk/root.img,format=raw,if=none,id=root,cache=unsafe,discard=unmap" -device virtio-blk-pci,drive=root \
  -drive file=/run/ssh.img,format=raw,if=none,id=ssh,readonly=on -device virtio-blk-pci,drive=ssh \
  -netdev tap,id=lab,ifname=tap0,script=no,downscript=no -device "virtio-net-pci,netdev=lab,mac=$mac,romfile=" \
  -device virtio-rng-pci
