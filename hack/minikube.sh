#!/usr/bin/env bash
# A hub and two clusters in minikube: minikube.sh up | deploy | demo | down. DRY_RUN=1 prints the commands and runs nothing.
#
# Needed: minikube with a driver (DRIVER, default kvm2), kubectl, clusteradm (https://open-cluster-management.io), and what
# `make docker-build` needs. `up` and `deploy` may be repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

driver=${DRIVER:-kvm2}
network=${NETWORK:-br10}
# Not `latest`: the kubelet would try to pull it.
image=${IMG:-localhost/multicluster-orchestrator:minikube}
archive=target/minikube-image.tar
clusters=(cluster1 cluster2)

# Prints a command, and runs it unless this is a dry run.
run() {
  local shown
  printf -v shown ' %q' "$@"
  # The join token is nobody's business who looks at the screen.
  [[ -z ${token:-} ]] || shown=${shown//"$token"/<token>}
  printf '+%s\n' "$shown"
  [[ -n ${DRY_RUN:-} ]] || "$@"
}

# The output of a command, or in a dry run a name for it.
ask() {
  local name=$1
  shift
  if [[ -n ${DRY_RUN:-} ]]; then printf '<%s>' "$name"; else "$@"; fi
}

hub() { run kubectl --context hub "$@"; }

define_network() {
  # Other drivers make the network themselves.
  [[ $driver == kvm2 ]] || return 0
  if [[ -n ${DRY_RUN:-} ]] || ! virsh net-info "$network" >/dev/null 2>&1; then
    run sudo virsh net-define hack/minikube-network.xml
    run sudo virsh net-start "$network"
    run sudo virsh net-autostart "$network"
  fi
}

up() {
  local profile token address
  define_network
  for profile in hub "${clusters[@]}"; do
    run minikube start --driver="$driver" --network="$network" --profile="$profile"
  done
  run clusteradm init --wait --context hub
  token=$(ask token bash -c "clusteradm get token --context hub -o json | sed -n 's/.*\"hub-token\": *\"\\([^\"]*\\)\".*/\\1/p'")
  # The address in the kubeconfig may be one of this machine only.
  address=$(ask address minikube ip --profile=hub)
  for profile in "${clusters[@]}"; do
    run clusteradm join --hub-token "$token" --hub-apiserver "https://$address:8443" --cluster-name "$profile" --wait --context "$profile"
  done
  run clusteradm accept --clusters "$(IFS=,; echo "${clusters[*]}")" --wait --context hub
}

deploy() {
  local profile
  run make docker-build IMG="$image"
  run hack/image/image.sh save "$image" "$archive"
  for profile in hub "${clusters[@]}"; do run minikube image load "$archive" --profile="$profile"; done
  run make deploy IMG="$image" KUBECTL="kubectl --context hub"
  hub wait --for=condition=Available --timeout=2m -n multicluster-orchestrator deployment/addon-manager
  hub apply -k manifests/profiles
  for profile in "${clusters[@]}"; do
    run bash -c "sed s/cluster1/$profile/ manifests/samples/managedclusteraddon.yaml | kubectl --context hub apply -f -"
  done
  for profile in "${clusters[@]}"; do
    hub wait --for=condition=Available --timeout=3m -n "$profile" managedclusteraddon/tokenexchange
  done
}

demo() {
  local profile
  for profile in "${clusters[@]}"; do
    run bash -c "kubectl --context $profile create secret generic storage-peer-token --from-literal=token=of-$profile --dry-run=client -o yaml | kubectl --context $profile apply -f -"
    run bash -c "kubectl --context $profile get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' >target/$profile-ca.crt"
    run bash -c "kubectl --context $profile create configmap storage-ca --from-file=ca.crt=target/$profile-ca.crt --dry-run=client -o yaml | kubectl --context $profile apply -f -"
  done
  hub apply -f manifests/samples/peering.yaml
  hub wait --for=condition=Ready --timeout=2m peering/east-west
  hub get peerlinks -A
  run kubectl --context cluster2 get secret peer-cluster1-storage-peer-token
}

down() {
  local profile
  for profile in hub "${clusters[@]}"; do run minikube delete --profile="$profile"; done
}

case ${1:-} in
  up | deploy | demo | down) "$1" ;;
  *) echo "usage: minikube.sh up|deploy|demo|down" >&2; exit 2 ;;
esac
