#!/usr/bin/env bash
# Tells what keeps this checkout from being released: release-check.sh VERSION. Prints everything it finds, then fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$1
found=0

miss() {
  printf 'release-check: %s\n' "$*" >&2
  found=1
}

[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || miss "the version in Cargo.toml is no release: $version"
grep -qE "^## $version - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md || miss "CHANGELOG.md has no heading \"## $version - YYYY-MM-DD\""
sed -n '/^## Unreleased/,/^## [0-9]/p' CHANGELOG.md | grep -q '^\* ' && miss "CHANGELOG.md still has entries under Unreleased"
[[ -z $(git tag --list "v$version") ]] || miss "there is a tag v$version already"
[[ -z $(git status --porcelain) ]] || miss "the checkout is not clean"
grep -qE "^name: odf-multicluster-orchestrator.v$version$|  name: odf-multicluster-orchestrator.v$version$" bundle/manifests/*.clusterserviceversion.yaml ||
  miss "the bundle is of another version: make manifests"
"${CARGO:-cargo}" metadata --locked --format-version 1 --no-deps >/dev/null 2>&1 || miss "Cargo.lock is not up to date"
tools=$(hack/tools.sh cargo-deny mdbook)
"$tools/cargo-deny" --log-level error check licenses bans sources >&2 || miss "dependencies break deny.toml"
# Needs the internet: a release that nobody could check for advisories is not to be made.
"$tools/cargo-deny" --log-level error check advisories >&2 || miss "advisories about dependencies were found, or could not be looked up"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$tools/mdbook" build --dest-dir "$site" >&2 || miss "the documentation cannot be built as a site"
"${CARGO:-cargo}" run -q --locked -p packaging -- manifests --check --repository . || found=1

((found == 0)) && echo "version $version can be released"
exit "$found"
