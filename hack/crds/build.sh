#!/usr/bin/env bash
# Gets the CRDs of storage operators, OLM and prometheus-operator for the tests out of the Go modules that hold them.
#
# They are not ours, so they are not kept in the repository. Only zips are downloaded, checked against go.sum beside this
# script; nothing is compiled. What is missing is written into a cache directory outside the checkout, named after the
# files beside this script, one file per CRD. Safe to run twice at once. Progress goes to stderr; the last line on stdout
# is the directory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'crds: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Module and files in it. Two operators ship the CRDs of object bucket claims: NooBaa's have a schema, and Rook's, in one
# file with its own, take anything, so that they are left out below.
files=(
  'github.com/csi-addons/kubernetes-csi-addons config/crd/bases/*.yaml'
  'github.com/noobaa/noobaa-operator/v5 deploy/obc/*_crd.yaml'
  'github.com/openshift/api route/v1/zz_generated.crd-manifests/routes.crd.yaml'
  'github.com/openshift/api config/v1/zz_generated.crd-manifests/0000_03_config-operator_01_proxies.crd.yaml'
  'github.com/operator-framework/api crds/operators.coreos.com_catalogsources.yaml'
  'github.com/operator-framework/api crds/operators.coreos.com_subscriptions.yaml'
  'github.com/prometheus-operator/prometheus-operator example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml'
  'github.com/prometheus-operator/prometheus-operator example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml'
  'github.com/rook/rook deploy/examples/crds.yaml'
)

# The module's own Go is used: no other toolchain is downloaded behind the user's back, and no go.work above interferes.
export GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly

# Prints the directory of a module, whose zip is downloaded and must be the one that go.sum names. Go itself would add to
# go.sum what is missing there.
directory_of() {
  local module=$1 version expected answer sum
  version=$(sed -n "s#^\t$module \(v[^ ]*\)\$#\1#p" "$here/go.mod")
  [[ -n $version ]] || fail "go.mod does not require $module."
  expected=$(sed -n "s#^$module $version \(h1:.*\)\$#\1#p" "$here/go.sum")
  [[ -n $expected ]] || fail "go.sum does not have $module $version."
  answer=$(cd "$here" && go mod download -json "$module@$version") || fail "$module $version cannot be downloaded: $answer"
  sum=$(sed -n 's/^\t"Sum": "\(.*\)",*$/\1/p' <<<"$answer")
  [[ $sum == "$expected" ]] || fail "$module $version has the sum $sum, go.sum says $expected."
  sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p' <<<"$answer"
}

# Writes each CRD of some files into a file of its own, named after it: split <directory> <file>...
split() {
  local out=$1
  shift
  awk -v out="$out" '
    function flush() {
      if (name != "" && !(name ~ /[.]objectbucket[.]io$/ && file ~ /[/]rook@/)) {
        printf "%s", text > (out "/" name ".yaml")
        close(out "/" name ".yaml")
      }
      name = ""; text = ""
    }
    FNR == 1 { flush(); file = FILENAME }
    /^---/ { flush(); next }
    { text = text $0 "\n" }
    /^  name: / && name == "" { name = $2 }
    END { flush() }
  ' "$@"
}

digest=$(cd "$here" && cat go.mod go.sum build.sh | sha256sum | cut -c1-16)
root=${XDG_CACHE_HOME:-$HOME/.cache}/multicluster-orchestrator/crds
if [[ ! -d $root/$digest ]]; then
  command -v go >/dev/null || fail "Go is needed to download the modules with the CRDs, but there is no go in PATH (https://go.dev/dl/)."
  mkdir -p "$root"
  exec 9>"$root/.lock"
  flock --nonblock 9 || { say "waiting for another run to finish ..."; flock 9; }
  rm -rf "$root"/.build.*
fi
if [[ ! -d $root/$digest ]]; then
  out=$(mktemp -d "$root/.build.XXXXXX")
  for entry in "${files[@]}"; do
    directory=$(directory_of "${entry% *}") 9>&-
    # shellcheck disable=SC2206 # the pattern is to be expanded
    matches=("$directory"/${entry#* })
    [[ -e ${matches[0]} ]] || fail "${entry% *} has no ${entry#* }."
    split "$out" "${matches[@]}"
  done
  mv "$out" "$root/$digest"
  say "copied $(find "$root/$digest" -name '*.yaml' | wc -l) CRDs from Go modules"
fi
printf '%s\n' "$root/$digest"
