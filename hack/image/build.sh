#!/usr/bin/env bash
# Builds the image of manager and agents: build.sh IMAGE VERSION. Beside it, in target/image, stand the bill of materials
# (sbom.cdx.json) and the digest. Prints the sizes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
image=$1 version=$2

binaries=$(hack/image/binaries.sh)
out=target/image
rm -rf "$out"
mkdir -p "$out/context"
cp "$binaries/addon-manager" "$binaries/addon-agent" "$out/context/"
chmod 0555 "$out/context"/*

"${CARGO:-cargo}" metadata --locked --format-version 1 --filter-platform "$(uname -m)-unknown-linux-musl" >"$out/metadata.json"
"${CARGO:-cargo}" run -q --locked -p packaging -- sbom --repository . --metadata "$out/metadata.json" --out "$out/sbom.cdx.json"
rm "$out/metadata.json"

revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
hack/image/image.sh build "$image" Containerfile "$out/context" "VERSION=$version" "REVISION=$revision" >"$out/digest"

printf '%s\n' "$image"
stat --format '  %n %s bytes' "$out/context"/* | sed "s#$out/context/##"
printf '  image %s\n' "$(cat "$out/digest")"
printf '  components in %s: %s\n' "$out/sbom.cdx.json" "$(grep -c '"bom-ref": "pkg:' "$out/sbom.cdx.json")"
