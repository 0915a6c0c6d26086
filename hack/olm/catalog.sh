#!/usr/bin/env bash
# Writes the catalog of a bundle image and checks it: catalog.sh OUT VERSION BUNDLE-IMAGE [REPLACES [PREVIOUS-VERSION PREVIOUS-IMAGE]]
# TLS_VERIFY=false: the registry speaks plain HTTP. A BUNDLE-IMAGE may be a directory too, for checks without a registry.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$1 version=$2 bundle=$3 replaces=${4:-} previous=${5:-} previous_image=${6:-}

PATH=$(hack/tools.sh opm):$PATH
http=()
[[ ${TLS_VERIFY:-true} == true ]] || http=(--use-http)
rm -rf "$out"
mkdir -p "$out"
"${CARGO:-cargo}" run -q --locked -p packaging -- catalog --repository . --version "$version" --replaces "$replaces" \
  --previous "$previous" --out "$out/catalog.yaml"
for image in $previous_image $bundle; do
  opm render "${http[@]}" --migrate-level=bundle-object-to-csv-metadata "$image" -o yaml >>"$out/catalog.yaml"
done
opm validate "$out"
