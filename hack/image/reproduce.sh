#!/usr/bin/env bash
# Whether the image of this commit is the same wherever it is built: builds it here, then from nothing in a clone elsewhere, and
# compares. reproduce.sh VERSION. The second build takes as long as a first one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$1

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT

# image_of CHECKOUT: digest and size.
image_of() (
  cd "$1"
  binaries=$(hack/image/binaries.sh)
  context=$(mktemp -d -p "$elsewhere")
  cp "$binaries/addon-manager" "$binaries/addon-agent" "$context/"
  chmod 0555 "$context"/*
  sha256sum "$context"/* | sed 's#  .*/#  #' >&2
  hack/image/image.sh build localhost/reproduce:1 Containerfile "$context" "VERSION=$version" "REVISION=$(git rev-parse HEAD)"
)

git clone -q . "$elsewhere/checkout"
first=$(image_of .)
second=$(unset CARGO_TARGET_DIR && image_of "$elsewhere/checkout")
if [[ $first != "$second" ]]; then
  printf 'two builds of this commit differ: %s here, %s elsewhere\n' "$first" "$second" >&2
  exit 1
fi
printf 'two builds of this commit give the same image: %s, %s\n' "${first#* }" "${first% *}"
