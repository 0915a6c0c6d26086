#!/usr/bin/env bash
# Builds tools from Go modules and crates, and prints the directory that holds them: tools.sh NAME...
#
# Each is built once, into a cache directory outside the checkout that is named after its module's go.mod and go.sum, or after the
# crate's version, and linked into one directory. Safe to run twice at once. Progress goes to stderr. (The control planes of the ordinary tests have
# a script of their own: hack/controlplane/build.sh.)
set -euo pipefail

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/multicluster-orchestrator/tools
containers=containers_image_openpgp,exclude_graphdriver_btrfs

say() { printf 'tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The module's own Go is used: no other toolchain is downloaded behind the user's back, and no go.work above interferes.
export GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false -trimpath"

# Prints module directory, build tags and package of a tool.
where() {
  local olm=github.com/operator-framework/operator-lifecycle-manager
  case $1 in
    opm) echo "olm/registry $containers,json1 github.com/operator-framework/operator-registry/cmd/opm" ;;
    operator-verify) echo "olm/api - github.com/operator-framework/api/cmd/operator-verify" ;;
    olm | catalog | copy-content) echo "olm/lifecycle $containers $olm/cmd/$1" ;;
    cpb) echo "olm/lifecycle $containers $olm/util/cpb" ;;
    bench-framework) echo "bench-framework - ." ;;
    versitygw) echo "s3server - github.com/versity/versitygw/cmd/versitygw" ;;
    helm) echo "helm - helm.sh/helm/v3/cmd/helm" ;;
    kubelet | kube-proxy | kube-scheduler) echo "e2e/node - k8s.io/kubernetes/cmd/$1" ;;
    coredns) echo "e2e/dns - github.com/coredns/coredns" ;;
    grpc_health_probe) echo "e2e/probe - github.com/grpc-ecosystem/grpc-health-probe" ;;
    *) fail "no tool is called $1" ;;
  esac
}

# Prints name and version of the crate of a tool that is written in Rust.
crate() {
  case $1 in
    cargo-deny) echo "cargo-deny 0.20.2" ;;
    mdbook) echo "mdbook 0.5.4" ;;
  esac
}

# Holds the lock of a directory until `unlock`.
lock() {
  mkdir -p "$1"
  exec 9>"$1/.lock"
  flock 9
}
unlock() { exec 9>&-; }

build_crate() {
  local name=$1 crate=$2 version=$3 directory=$cache/$2-$3 start=$SECONDS
  lock "$directory"
  if [[ ! -x $directory/bin/$name ]]; then
    say "building $name ..."
    # Not in the checkout, whose configuration is not meant for it.
    (cd "$cache" && "${CARGO:-cargo}" install --locked --quiet --version "$version" --root "$directory" "$crate") 9>&- >&2
    say "built $name in $((SECONDS - start)) s"
  fi
  unlock
  ln -sfn "$directory/bin/$name" "$cache/bin/$name"
}

build() {
  local name=$1 crate version module tags package directory flags="-s -w" start=$SECONDS
  read -r crate version < <(crate "$name") || true
  if [[ -n $crate ]]; then
    build_crate "$name" "$crate" "$version"
    return
  fi
  command -v go >/dev/null || fail "there is no go in PATH; Go 1.26 or newer is needed (https://go.dev/dl/)"
  read -r module tags package < <(where "$name")
  # A program of our own changes with its sources, which stand beside go.mod and in directories that it embeds.
  directory=$cache/$(basename "$module")-$(cd "$hack/$module" && find . -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-16)
  lock "$directory"
  if [[ ! -x $directory/$name ]]; then
    say "building $name ..."
    if [[ $module == e2e/node ]]; then
      version=$(sed -n 's#^require k8s.io/kubernetes \(.*\)$#\1#p' "$hack/$module/go.mod")
      # Without the stamp, clients read v0.0.0-master.
      flags+=" -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1"
      flags+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
    fi
    # The kubelet finds out about containers by cgo.
    (cd "$hack/$module" && CGO_ENABLED=$([[ $name == kubelet ]] && echo 1 || echo 0) \
      go build -tags "${tags#-}" -ldflags "$flags" -o "$directory/$name.part" "$package") 9>&- >&2
    mv "$directory/$name.part" "$directory/$name"
    say "built $name in $((SECONDS - start)) s"
  fi
  unlock
  ln -sfn "$directory/$name" "$cache/bin/$name"
}

mkdir -p "$cache/bin"
for name in "$@"; do build "$name"; done
printf '%s\n' "$cache/bin"
