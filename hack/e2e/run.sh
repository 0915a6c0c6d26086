#!/usr/bin/env bash
# The product on whole clusters: a hub and two managed clusters with kubelets and pods, each in a network namespace of this machine.
#   run.sh            everything, then cleans up
#   run.sh clean DIR  cleans up after a run that was killed
# E2E_KEEP=1 leaves a failed run standing (its directory is told). Needs root and Linux; a second run at the same time is refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=hack/e2e
# shellcheck source=hack/e2e/lib.sh
source $here/lib.sh
# shellcheck source=hack/e2e/pki.sh
source $here/pki.sh
# shellcheck source=hack/e2e/images.sh
source $here/images.sh
# shellcheck source=hack/e2e/cluster.sh
source $here/cluster.sh
# shellcheck source=hack/e2e/ocm.sh
source $here/ocm.sh
# shellcheck source=hack/e2e/olm.sh
source $here/olm.sh
# shellcheck source=hack/e2e/story.sh
source $here/story.sh

packages="containerd runc buildah containernetworking-plugins iptables conntrack iproute2 docker-registry busybox-static musl-tools openssl curl"

check_machine() {
  local program missing=""
  ((EUID == 0)) || fail "root is needed: clusters are network namespaces with kubelets"
  for program in containerd ctr runc buildah iptables conntrack ip nsenter docker-registry busybox musl-gcc openssl curl; do
    command -v "$program" >/dev/null || missing+=" $program"
  done
  [[ -x /usr/lib/cni/bridge ]] || missing+=" /usr/lib/cni/bridge"
  [[ -z $missing ]] || fail "missing:$missing (Debian: apt-get install $packages)"
  [[ -z $(ip -o link show "$bridge" 2>/dev/null) ]] || fail "another run is there, or was killed: $here/run.sh clean DIR removes what it left"
}

if [[ ${1:-} == clean ]]; then
  work=${2:?directory of the run}
  clean_up
  exit
fi

check_machine
controlplane=$(hack/controlplane/build.sh)
ocm_crds=$(dirname "$controlplane")/crds
PATH=$controlplane:$(hack/tools.sh kubelet kube-proxy kube-scheduler):$PATH
work=$(mktemp -d -t "$prefix.XXXXXX")
export SOURCE_DATE_EPOCH=0 CONTAINER_TOOL=buildah TLS_VERIFY=false

ended() {
  local status=$?
  trap - EXIT INT TERM
  if ((status != 0)); then
    explain >&2
    if [[ -n ${E2E_KEEP:-} ]]; then
      echo "left standing in $work; remove it by: $here/run.sh clean $work" >&2
      exit "$status"
    fi
  fi
  clean_up
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 130' INT TERM

story
