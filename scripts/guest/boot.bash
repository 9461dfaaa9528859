# SPDX-License-Identifier: BSD-3-Clause
# Sourced by what boots virtual machines from build-guest (scripts/guest/tree, scripts/guest/compile). `dir` is that folder;
# own=1: they have this machine's files, and what was built here (scripts/guest/own). CAISSON_GUEST_BUILD: another folder as /build.
: "${dir:?}"
: "${own:=0}"
kernel=$dir tree=$dir/tree
build=${CAISSON_GUEST_BUILD:-$dir/build}
if ((own)); then kernel=$dir/own tree=/ build=${CAISSON_GUEST_BUILD:-$PWD/build}; fi

[[ -f $kernel/initramfs ]] || { echo "$0: run scripts/guest/compile (or scripts/guest/own) first" >&2; exit 2; }
mkdir -p "$dir/out"

boot() {
  exec qemu-system-x86_64 "$@" -nographic -no-reboot -kernel "$kernel/kernel" -initrd "$kernel/initramfs" </dev/null
}

# Not every machine that has /dev/kvm can boot a stock kernel with it.
accelerator() {
  if [[ ! -f $dir/accelerator ]]; then
    local kvm=(-accel kvm -cpu host -m 512M -nic none -append 'console=ttyS0 panic=-1 quiet caisson.probe')
    if [[ -w /dev/kvm ]] && timeout 30 bash -c "$(declare -f boot); kernel=$kernel; boot ${kvm[*]@Q}" 2>/dev/null |
      grep -q 'guest: alive'; then
      echo '-accel kvm -cpu host' >"$dir/accelerator"
    else
      echo '-accel tcg,thread=multi -cpu max' >"$dir/accelerator"
    fi
  fi
  cat "$dir/accelerator"
}

share() { printf 'local,path=%s,mount_tag=%s,security_model=none,multidevs=remap%s' "$1" "$2" "${3:-}"; }

# machine MIB NVDIMM…: sets `machine` to a machine of two NUMA nodes with so much memory, and these files as NVDIMMs.
machine() {
  local mib=$1 n=0 file
  shift
  read -ra machine < <(accelerator)
  # shellcheck disable=SC2054 # QEMU separates by commas
  machine+=(-machine 'q35,nvdimm=on,nvdimm-persistence=mem-ctrl' -m "${mib}M,slots=8,maxmem=16G" -smp 2,sockets=2
    -object "memory-backend-ram,id=m0,size=$((mib / 2))M" -object "memory-backend-ram,id=m1,size=$((mib / 2))M"
    -numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1)
  for file in "$@"; do
    [[ -f $file ]] || truncate -s 256M "$file"
    machine+=(-object "memory-backend-file,id=nv$n,share=on,mem-path=$file,size=256M"
      -device "nvdimm,memdev=nv$n,id=nvdimm$n,node=0")
    n=$((n + 1))
  done
  machine+=(-virtfs "$(share "$tree" tree ,readonly=on)" -virtfs "$(share "$PWD" source ,readonly=on)"
    -virtfs "$(share "$build" build ,readonly=on)" -virtfs "$(share "$dir/out" out)")
}
