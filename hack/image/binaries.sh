#!/usr/bin/env bash
# Builds the two static binaries of the image, without anything that changes from build to build: no path of the machine, no time.
# Progress goes to stderr; stdout is the directory of the binaries.
#
# With --or-host they are built for this machine where static ones cannot be, for trying them out.
#
# Needed: the Rust target <arch>-unknown-linux-musl (rustup target add) and musl-gcc (Debian package musl-tools).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

arch=$(uname -m)
target=$arch-unknown-linux-musl

say() { printf 'image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

host=
static() { [[ -d $(rustc --print sysroot)/lib/rustlib/$target ]] && command -v musl-gcc >/dev/null; }
[[ ${1:-} == --or-host ]] && ! static && host=1

[[ -n $host || -d $(rustc --print sysroot)/lib/rustlib/$target ]] ||
  fail "static binaries need the Rust target $target: rustup target add $target"
[[ -n $host ]] || command -v musl-gcc >/dev/null || fail "static binaries need musl-gcc: apt-get install musl-tools"

if [[ -n $host ]]; then
  "${CARGO:-cargo}" build --release --locked -p addon-manager -p addon-agent >&2
  printf '%s\n' "${CARGO_TARGET_DIR:-target}/release"
  exit
fi

cargo_home=${CARGO_HOME:-$HOME/.cargo}
# C code is compiled anew when this changes; it puts no time into the image either way.
export SOURCE_DATE_EPOCH=0
export RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/src"
export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/src"
"${CARGO:-cargo}" build --release --locked --target "$target" -p addon-manager -p addon-agent >&2
printf '%s\n' "${CARGO_TARGET_DIR:-target}/$target/release"
