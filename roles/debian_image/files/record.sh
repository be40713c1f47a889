#!/bin/sh
# Write into a root file system what is installed in it, by version and hash of its package: usr/share/socklab/packages.tsv.
# Called by mmdebstrap, outside the chroot, so that nothing of another architecture runs.    usage: record.sh ROOT
set -eu
root=$1 table=$1/usr/share/socklab/packages.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

mkdir -p "${table%/*}"
touch "$table"
[ -s "$root/var/lib/dpkg/status" ] || exit 0 # unpacked only, nothing is installed
dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${Package}\t${Version}\n' > "$work/installed"
{
  cat "$table" # of the image below, whose packages may have left the mirrors since
  tr '\t' '=' < "$work/installed" | xargs apt-cache show --no-all-versions |
    awk '/^Package:/ {p = $2} /^Version:/ {v = $2} /^SHA256:/ {print p "\t" v "\t" $2}'
} | sort -u | awk -F '\t' 'NR == FNR {installed[$1, $2]; next} ($1, $2) in installed' "$work/installed" - > "$work/table"
cat "$work/table" > "$table"
