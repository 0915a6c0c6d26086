#!/usr/bin/env bash
# Builds the control planes of the test environment from Go modules: etcd, Kubernetes and Open Cluster Management.
#
# What is missing is built into a cache directory outside the checkout, named after the Go files beside this script, so
# that a second clone reuses it. Safe to run twice at once. Progress goes to stderr; the last line on stdout is the
# directory of the binaries, and the CRDs of Open Cluster Management are in crds/ beside it.
#
# With the argument `older` it builds an older Open Cluster Management instead, and of it only what a hub and a managed
# cluster cannot do without: one scenario needs it, and whoever does not run that one need not pay for it.
# KUBEBUILDER_ASSETS is honoured: etcd, kube-apiserver and kubectl found there are used instead of building them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
  '') modules=(etcd kubernetes ocm) ocm=ocm ;;
  older) modules=(ocm-older) ocm=ocm-older ;;
  *) printf 'usage: %s [older]\n' "$0" >&2; exit 2 ;;
esac

say() { printf 'controlplane: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The module's own Go is used: no other toolchain is downloaded behind the user's back, and no go.work above interferes.
export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false -trimpath"

# Prints the Go version that the modules need, which is the highest `go` line of the go.mod files.
needed_go() {
  for module in "${modules[@]}"; do sed -n 's/^go \([0-9.]*\)$/\1/p' "$here/$module/go.mod"; done | sort -V | tail -n 1
}

check_go() {
  local needed have
  needed=$(needed_go)
  command -v go >/dev/null ||
    fail "Go $needed or newer is needed to build the local control planes, but there is no go in PATH (https://go.dev/dl/)."
  have=$(cd / && go env GOVERSION | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*$/\1/p')
  [[ $(printf '%s\n%s\n' "$needed" "${have:-0}" | sort -V | head -n 1) == "$needed" ]] ||
    fail "Go $needed or newer is needed to build the local control planes, but go in PATH is ${have:-of an unknown version} (https://go.dev/dl/)."
}

# Prints the version of a module as its tools module requires it: version_of <tools module> <module path>.
version_of() { sed -n "s#^\(require \|\t\)$2 \(v[0-9.]*\)\$#\2#p" "$here/$1/go.mod" | head -n 1; }

# Builds packages of one tools module: build <tools module> <ldflags> <name=package>... Only what is missing is built.
build() {
  local module=$1 ldflags=$2 pair
  local -a names=() packages=()
  shift 2
  for pair in "$@"; do
    [[ -x $bin/${pair%%=*} || -n $(from_assets "${pair%%=*}") ]] && continue
    names+=("${pair%%=*}")
    packages+=("${pair#*=}")
  done
  ((${#names[@]})) || return 0
  local start=$SECONDS out name index
  say "building ${names[*]} ..."
  out=$(mktemp -d "$root/.build.XXXXXX")
  if ((${#names[@]} == 1)); then
    # The last element of a package path can be a version (go.etcd.io/etcd/server/v3): name the file ourselves.
    (cd "$here/$module" && go build -ldflags "-s -w $ldflags" -o "$out/${names[0]}" "${packages[0]}") 9>&- >&2
  else
    (cd "$here/$module" && go build -ldflags "-s -w $ldflags" -o "$out/" "${packages[@]}") 9>&- >&2
    for index in "${!names[@]}"; do
      name=$(basename "${packages[index]}")
      [[ $name == "${names[index]}" ]] || mv "$out/$name" "$out/${names[index]}"
    done
  fi
  for name in "${names[@]}"; do mv "$out/$name" "$bin/$name"; done
  rm -rf "$out"
  say "built ${names[*]} in $((SECONDS - start)) s"
}

# Copies the CRDs out of the Open Cluster Management module: they are not ours, so they are not kept in the repository.
copy_crds() {
  [[ -d $root/crds ]] && return 0
  local source out hub
  source=$(cd "$here/$ocm" && go mod download open-cluster-management.io/ocm >&2 && go list -m -f '{{.Dir}}' open-cluster-management.io/ocm)
  out=$(mktemp -d "$root/.build.XXXXXX")
  mkdir -p "$out/crds/hub" "$out/crds/spoke"
  hub=$source/manifests/cluster-manager/hub
  # Before 1.2 they were among the other manifests.
  if [[ -d $hub/crds ]]; then cp "$hub"/crds/*.yaml "$out/crds/hub/"; else cp "$hub"/*.crd.yaml "$out/crds/hub/"; fi
  cp "$source"/manifests/klusterlet/managed/0000_0*.yaml "$out/crds/spoke/"
  chmod -R u+w "$out"
  mv "$out/crds" "$root/crds"
  rm -rf "$out"
  say "copied the Open Cluster Management CRDs"
}

# Prints the path of a binary in KUBEBUILDER_ASSETS, or nothing.
from_assets() {
  case $1 in etcd | kube-apiserver | kubectl) ;; *) return 0 ;; esac
  if [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]]; then
    printf '%s\n' "$(cd "$KUBEBUILDER_ASSETS" && pwd)/$1"
  fi
}

# Prints the directory to use: the built binaries, or a directory of links when some come from KUBEBUILDER_ASSETS.
bin_directory() {
  local name path links
  [[ -n $(from_assets etcd)$(from_assets kube-apiserver)$(from_assets kubectl) ]] || { printf '%s\n' "$bin"; return; }
  links=$root/bin-$(cd "$KUBEBUILDER_ASSETS" && pwd | sha256sum | cut -c1-12)
  mkdir -p "$links"
  for path in "$bin"/*; do [[ -e $path ]] && ln -sfn "$path" "$links/$(basename "$path")"; done
  for name in etcd kube-apiserver kubectl; do
    path=$(from_assets "$name")
    [[ -z $path ]] || { ln -sfn "$path" "$links/$name"; say "using $path"; }
  done
  printf '%s\n' "$links"
}

check_go

digest=$(cd "$here" && find "${modules[@]}" \( -name go.mod -o -name go.sum -o -name '*.go' \) -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c1-16)
root=${XDG_CACHE_HOME:-$HOME/.cache}/multicluster-orchestrator/controlplane/$digest
bin=$root/bin
mkdir -p "$bin"

exec 9>"$root/.lock"
flock --nonblock 9 || { say "waiting for another build to finish ..."; flock 9; }
rm -rf "$root"/.build.*

copy_crds
if [[ $ocm == ocm-older ]]; then
  build ocm-older "" \
    registration=open-cluster-management.io/ocm/cmd/registration \
    work=open-cluster-management.io/ocm/cmd/work \
    addon=open-cluster-management.io/ocm/cmd/addon
  printf '%s\n' "$bin"
  exit 0
fi

kubernetes=$(version_of kubernetes k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes"
stamp+=" -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"

build etcd "" etcd=go.etcd.io/etcd/server/v3
build kubernetes "$stamp" \
  kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver \
  kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
  kubectl=k8s.io/kubernetes/cmd/kubectl
build ocm "" \
  registration=open-cluster-management.io/ocm/cmd/registration \
  work=open-cluster-management.io/ocm/cmd/work \
  placement=open-cluster-management.io/ocm/cmd/placement \
  addon=open-cluster-management.io/ocm/cmd/addon \
  conversion-webhook=./conversion-webhook

bin_directory
