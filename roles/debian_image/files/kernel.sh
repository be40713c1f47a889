#!/bin/sh
# Give a root file system of another architecture its kernel, without running anything of that architecture: the package's
# own scripts would spend minutes under emulation on an initramfs. Called by mmdebstrap, outside the chroot.
# usage: kernel.sh ROOT PACKAGE    PACKAGE: the architecture's kernel, by its metapackage
set -eu
root=$1 package=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# The metapackage names the kernel proper; apt checks its hash against the signed index.
image=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p')
(cd "$work" && apt-get download -q "$image")
# Not dpkg-deb --extract: it would put a folder where /lib is a link.
dpkg-deb --fsys-tarfile "$work"/*.deb | tar --extract --keep-directory-symlink --directory "$root"
version=$(basename "$root"/lib/modules/*)
depmod --basedir "$root" "$version"
mv "$root/boot/vmlinuz-$version" "$root/boot/vmlinuz"

# An initramfs that finds the disk and hands over: busybox and the modules that reading it takes.
mkdir -p "$work/initramfs/bin" "$work/initramfs/proc" "$work/initramfs/dev" "$work/initramfs/root" "$work/initramfs/modules"
cp "$root/bin/busybox" "$work/initramfs/bin/busybox"
modprobe --dirname "$root" --set-version "$version" --show-depends --all virtio_pci virtio_blk ext4 crc32c_generic |
  sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
  cp "$module" "$work/initramfs/modules/"
  basename "$module" >> "$work/initramfs/modules/order"
done
cat > "$work/initramfs/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done < /modules/order
until /bin/busybox mount -t ext4 /dev/vda /root; do /bin/busybox usleep 100000; done
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
EOF
chmod 0755 "$work/initramfs/init" "$work/initramfs/bin/busybox"
(cd "$work/initramfs" && find . | cpio --quiet --create --format=newc --owner=0:0) | gzip > "$root/boot/initrd"
