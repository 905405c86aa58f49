#!/bin/bash
# dist.sh TARGET
# Makes what people download: dist/rtcam-VERSION-TARGET.tar.gz and .sha256, and a .deb of the same. Builds first (scripts/cross).
# Fails when the program needs more than glibc 2.28, or than a board of its target has (boards/*.toml), or other libraries than
# glibc's, or is larger than 8 MB on armv7.
# Both are the same for the same sources: sorted names, one time stamp, no owner.
# TARGET: armv7 | aarch64 | x86_64 (or the Rust triple)
# env: PROFILE (board), RTCAM_BUILT (a program that is built already: nothing is built), DIST (folder, dist), SOURCE_DATE_EPOCH,
#      CARGO_DEB (the program cargo-deb; else cargo-tool.sh builds one)
. "$(dirname "$0")/cross/lib.sh"
target_vars "${1:?TARGET}"
cd "$ROOT"
PROFILE=${PROFILE:-board}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=rtcam-$version-$TARGET
mkdir -p "${DIST:=dist}"; DIST=$(cd "$DIST" && pwd)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}

program=${RTCAM_BUILT:-}
if [ -z "$program" ]; then
  PROFILE=$PROFILE "$HERE/build.sh" "$TARGET" >&2
  program=$W/target-${TARGET%%-*}/$TARGET/$PROFILE/rtcam
fi

# the gates, read from the file itself: they hold for a program built elsewhere as well
fail() { die "FAIL: $program: $*"; }
readelf -h "$program" > /dev/null 2>&1 || fail "is no program"
machine=$(readelf -h "$program" | sed -n 's/^ *Machine: *//p')
case $TARGET:$machine in armv7*:ARM|aarch64*:AArch64|x86_64*:*X86-64) ;; *) fail "is for $machine, not for $TARGET";; esac
needed=$(readelf -W -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
foreign=$(grep -Ev '^(libc|libm|libpthread|libdl|librt|libresolv|libutil|ld-linux[a-z0-9-]*)\.so' <<< "$needed" || true)
[ -z "$foreign" ] || fail "needs $foreign; only glibc's own libraries are on every board"
newest=$(readelf -W -V "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1 || true)
[ "$(printf '%s\n' "GLIBC_$GLIBC_FLOOR" "$newest" | sort -V | tail -1)" = "GLIBC_$GLIBC_FLOOR" ] || fail "needs $newest, the floor is $GLIBC_FLOOR"
for board in $(grep -lFx "target = \"$TARGET\"" boards/*.toml || true); do
  has=GLIBC_$(sed -n 's/^glibc = "\(.*\)"/\1/p' "$board")
  [ "$(printf '%s\n' "$has" "$newest" | sort -V | tail -1)" = "$has" ] || fail "needs $newest, and $board has $has"
done
size=$(stat -c %s "$program")
case $TARGET in armv7*) [ "$size" -le $((8 * 1024 * 1024)) ] || fail "$size bytes, at most 8 MiB are allowed";; esac

stage=$(mktemp -d "$W/dist.XXXXXX"); trap 'rm -rf "$stage"' EXIT
tree=$stage/$name; mkdir -p "$tree"
install -m 755 "$program" "$tree/rtcam"
install -m 755 install.sh "$tree/install.sh"
install -m 644 rtcam.example.toml README.md README.zh-CN.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE "$tree/"
mkdir "$tree/boards" "$tree/systemd"
install -m 644 boards/*.toml "$tree/boards/"
install -m 644 systemd/* "$tree/systemd/"
chmod 755 "$tree/systemd/S99rtcam"
scripts/third-party.py "$TARGET" "$W/opencv/$TARGET/share/licenses" "$W/src/zlib" > "$tree/THIRD-PARTY.txt"

tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$stage" -cf - "$name" | gzip -9n > "$DIST/$name.tar.gz.new"
mv "$DIST/$name.tar.gz.new" "$DIST/$name.tar.gz"
(cd "$DIST" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")

# The same as a .deb, as [package.metadata.deb] in Cargo.toml says. cargo-deb looks for what is made for a target where cargo
# would have left it. The unit has the same paths below /usr instead of /usr/local, where packages must not write.
made=$stage/made/$TARGET/$PROFILE; mkdir -p "$made"
cp "$program" "$made/rtcam"
cp "$tree/THIRD-PARTY.txt" "$made/"
sed 's,/usr/local/,/usr/,' systemd/rtcam.service > "$made/rtcam.service"
deb=$DIST/rtcam_${version}_$DEB.deb
CARGO_TARGET_DIR=$stage/made SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH "${CARGO_DEB:-$(scripts/cargo-tool.sh cargo-deb)}" \
  --quiet --locked --no-build --no-strip --target "$TARGET" --profile "$PROFILE" --output "$deb.new" > /dev/null
mv "$deb.new" "$deb"

echo "$DIST/$name.tar.gz"
echo "  program $size bytes, tarball $(stat -c %s "$DIST/$name.tar.gz") bytes; glibc ${newest:-none}; NEEDED $(echo $needed)"
echo "$deb"
echo "  $(stat -c %s "$deb") bytes"
