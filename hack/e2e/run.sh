#!/usr/bin/env bash
# The product on whole clusters: a hub and two managed clusters with kubelets and pods, each in a network namespace of this machine.
#   run.sh            everything, then cleans up
#   run.sh check      tells whether this machine can, or why not
#   run.sh clean DIR  cleans up after a run that was killed
# E2E_KEEP=1 leaves a failed run standing (its directory is told). Needs root and Linux; a second run at the same time is refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=hack/e2e
# shellcheck source=hack/e2e/lib.sh
source $here/lib.sh
# shellcheck source=hack/e2e/preflight.sh
source $here/preflight.sh
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
# shellcheck source=hack/e2e/seed.sh
source $here/seed.sh
# shellcheck source=hack/e2e/faults.sh
source $here/faults.sh
# shellcheck source=hack/e2e/story.sh
source $here/story.sh

if [[ ${1:-} == clean ]]; then
  work=${2:?directory of the run}
  clean_up
  exit
fi

why=$(obstacle)
if [[ ${1:-} == check ]]; then
  [[ -z $why ]] || { echo "$why"; exit 1; }
  exit
fi

[[ -z $why ]] || fail "$why"
controlplane=$(hack/controlplane/build.sh)
ocm_crds=$(dirname "$controlplane")/crds
PATH=$controlplane:$(hack/tools.sh kubelet kube-proxy kube-scheduler):$PATH
work=$(mktemp -d -t "$prefix.XXXXXX")
note_strewn
raise_inotify
export CONTAINER_TOOL=buildah TLS_VERIFY=false
# Images go with the run's directory.
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/images" "$work/images-run" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf

ended() {
  local status=$?
  trap - EXIT
  # make passes the signal on, so that it comes twice.
  trap '' INT TERM
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
