#!/usr/bin/env bash
# Checks a bundle and the catalog that holds it with OLM's own tools: validate.sh BUNDLE-DIRECTORY VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bundle=$1 version=$2

PATH=$(hack/tools.sh operator-verify opm):$PATH
# It ends with 0 whatever it finds: what it says decides.
findings=$(operator-verify manifests "$bundle" 2>&1)
if [[ -n $findings ]]; then
  printf '%s\n' "$findings" >&2
  exit 1
fi
catalog=$(mktemp -d)
trap 'rm -rf "$catalog"' EXIT
hack/olm/catalog.sh "$catalog/configs" "$version" "$bundle"
echo "bundle and catalog of version $version are valid"
