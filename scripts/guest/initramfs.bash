# SPDX-License-Identifier: BSD-3-Clause
# Sourced by what makes trees for virtual machines to boot.

# rxe asks for crc32 only when a device is made, and does not say so.
guest_modules=(virtio_pci 9pnet_virtio 9p overlay virtio_net dax device_dax libnvdimm nfit nd_pmem dax_pmem
  crc32_generic crc32c_generic rdma_rxe ib_uverbs rdma_ucm dummy sch_ingress cls_flower cls_matchall act_gact)

# make_initramfs TREE OUT: from the kernel and the busybox of a tree OUT/kernel and OUT/initramfs, which loads the
# modules, mounts the tree that the machine is given, and starts scripts/guest/init.
make_initramfs() {
  local tree=$1 out=$2 version root applet file n=100
  version=$(basename "$(ls -d "$tree"/lib/modules/* | sort -V | tail -n 1)")
  root=$(mktemp -d)
  mkdir -p "$root"/{bin,proc,sys,dev,modules,tree,over}
  cp "$tree/bin/busybox" "$root/bin/"
  for applet in sh cat mount mkdir insmod dmesg tail sleep switch_root; do
    ln -s busybox "$root/bin/$applet"
  done
  [[ -f $tree/lib/modules/$version/modules.dep.bin ]] || depmod -b "$tree" "$version"
  # The rules of the tree's own modprobe.d name programs that are not there yet.
  while read -r file; do
    cp "$file" "$root/modules/$n-$(basename "$file")"
    case $file in *.xz) xz -d "$root/modules/$n-$(basename "$file")" ;; esac
    n=$((n + 1))
  done < <(for module in "${guest_modules[@]}"; do
    modprobe -C /dev/null -d "$tree" -S "$version" --show-depends "$module" 2>/dev/null |
      awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++')
  cat >"$root/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
case $(cat /proc/cmdline) in *caisson.probe*) echo guest: alive; echo o >/proc/sysrq-trigger; sleep 10 ;; esac
for module in /modules/*; do insmod "$module" || { echo "guest: cannot load $module"; dmesg | tail -n 2; }; done
options=trans=virtio,version=9p2000.L,msize=1048576
mount -t 9p -o $options,cache=loose,ro tree /tree || echo "guest: no tree"
mount -t tmpfs tmpfs /over
mkdir /over/upper /over/work /newroot
mount -t overlay -o lowerdir=/tree,upperdir=/over/upper,workdir=/over/work overlay /newroot
mkdir -p /newroot/source /newroot/build /newroot/out
mount -t 9p -o $options source /newroot/source || echo "guest: no source"
for d in proc sys dev; do mount --move /$d /newroot/$d; done
exec switch_root /newroot /bin/bash /source/scripts/guest/init
INIT
  chmod +x "$root/init"
  (cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$out/initramfs"
  cp "$tree/boot/vmlinuz-$version" "$out/kernel"
  rm -rf "$root"
}

# guest_packages PACKAGE…: installs what is missing here.
guest_packages() {
  local package missing=()
  for package in "$@"; do
    # shellcheck disable=SC2016
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  apt-get -q update >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}" >/dev/null
}
