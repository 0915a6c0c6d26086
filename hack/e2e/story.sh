# shellcheck shell=bash
# What is tried, from top to bottom.

image=$registry/e2e/multicluster-orchestrator:v1
clusters=(hub cluster1 cluster2)
spokes=(cluster1 cluster2)

story() {
  local name
  make_bridge
  start_registry
  make_pause_image
  make_olm_images
  build_by_seed
  cargo build -q --workspace --bins --locked 2>"$work/bins.log" || { tail -n 20 "$work/bins.log" >&2; fail "the stand-ins cannot be built"; }
  for name in "${clusters[@]}"; do
    make_namespace "$name"
    start_control_plane "$name"
  done
  for name in "${clusters[@]}"; do start_controllers "$name"; done
  for name in "${clusters[@]}"; do start_node "$name"; done
  for name in "${clusters[@]}"; do await_node "$name"; done
  say "three clusters with a ready node each"
  install_hub
  for name in "${spokes[@]}"; do join "$name" "$name"; done
  # Buckets' keys are told to the hub, which is a cluster like others there.
  join local-cluster hub
  for name in "${spokes[@]}" local-cluster; do
    until_ok "$name to be available" 90 k hub wait --for=condition=ManagedClusterConditionAvailable --timeout=5s "managedcluster/$name"
  done
  say "Open Cluster Management runs, cluster1 and cluster2 are available, the hub is local-cluster"
  install_by_kustomize
  install_agents
  peer
  faults
  mirror
  withdraw
  make undeploy KUBECTL="kubectl --kubeconfig $work/hub/kubeconfig" >/dev/null
  nothing_is_left
  install_by_helm
  nothing_is_left
  start_dns
  install_olm
  say "OLM runs on the hub"
  install_by_olm
  install_agents
  say "from Subscription to agents available: $((SECONDS - subscribed)) s"
  peer
  upgrade_by_olm
  withdraw
  uninstall_by_olm
  nothing_is_left
}

install_by_kustomize() {
  local name
  make deploy IMG="$image" KUBECTL="kubectl --kubeconfig $work/hub/kubeconfig" >/dev/null
  until_ok "the addon-manager" 90 k hub -n multicluster-orchestrator wait --for=condition=Available --timeout=5s deployment/addon-manager
  say "addon-manager installed by kustomize, its pod is ready"
}

install_by_helm() {
  local helm
  helm=$(hack/tools.sh helm)/helm
  "$helm" --kubeconfig "$work/hub/kubeconfig" install o charts/multicluster-orchestrator -n multicluster-orchestrator --create-namespace \
    --set image="$image" --wait --timeout 120s >/dev/null
  "$helm" --kubeconfig "$work/hub/kubeconfig" uninstall o -n multicluster-orchestrator --wait --timeout 60s >/dev/null 2>&1
  [[ $(our_crds | wc -l) == $(grep -c '^- ' manifests/crds/kustomization.yaml) ]] || fail "the CRDs went with the chart"
  make uninstall KUBECTL="kubectl --kubeconfig $work/hub/kubeconfig" >/dev/null
  k hub delete namespace multicluster-orchestrator >/dev/null
  say "installed by Helm, its pod was ready; removed, the CRDs stayed"
}

install_agents() {
  local name
  k hub apply -k manifests/profiles >/dev/null
  for name in "${spokes[@]}"; do seed addon.txt cluster1 "$name" >/dev/null; done
  for name in "${spokes[@]}"; do
    until_ok "the agent's pod on $name" 90 k "$name" -n default wait --for=condition=Ready --timeout=5s pod -l app.kubernetes.io/name=token-exchange-agent
    until_ok "the addon of $name" 120 k hub -n "$name" wait --for=condition=Available --timeout=5s managedclusteraddon/tokenexchange
  done
  say "agent pods run on both clusters, their addons are available"
}

# A MirrorPeer from beginning to end: the same storage clusters (stand-ins with the real CRDs and S3 servers) and the same steps as
# `make demo-storage`, on these clusters.
mirror() {
  # It is replaced by one with another endpoint, which an apply would add to the first.
  k hub delete exchangeprofile odf-s3 >/dev/null
  target/debug/storage-demo visit --dir "$work/storage" --address "$bridge_address" \
    --kubeconfigs "$work/hub/kubeconfig" "$work/cluster1/kubeconfig" "$work/cluster2/kubeconfig" >"$work/mirror.log" 2>&1 &
  printf '%s storage-demo\n' "$!" >>"$work/pids"
  wait "$!" || { tail -n 30 "$work/mirror.log" >&2; fail "the MirrorPeer did not become ready, or was not taken back"; }
  sed 's/^\[ *[0-9.]* s\]/          /' "$work/mirror.log"
  k hub -n local-cluster delete --timeout=120s managedclusteraddon tokenexchange >/dev/null
  until_ok "the agent of the hub to be removed" 120 gone hub -A deployment --field-selector metadata.name=token-exchange-agent
  say "a MirrorPeer was ready and has been deleted"
}

peer() {
  local name
  for name in "${spokes[@]}"; do
    k "$name" create secret generic storage-peer-token --from-literal=token="of-$name" >/dev/null
    k "$name" create configmap storage-ca --from-file=ca.crt="$work/$name/pki/ca.crt" >/dev/null
  done
  k hub apply -f manifests/samples/peering.yaml >/dev/null
  until_ok "Peering east-west" 60 k hub wait --for=condition=Ready --timeout=5s peering/east-west
  [[ $(k cluster2 get secret peer-cluster1-storage-peer-token -o jsonpath='{.data.token}' | base64 -d) == of-cluster1 ]] ||
    fail "cluster2 does not hold the secret of cluster1"
  say "Peering east-west is ready, the secret of cluster1 is on cluster2"
  say "memory: addon-manager $(memory_of hub /addon-manager), agent of cluster1 $(memory_of cluster1 /addon-agent)"
}

# memory_of CLUSTER PROGRAM: the resident memory of the pod that runs it.
memory_of() {
  local pid
  for pid in $(ctr -a "$work/$1/containerd.sock" -n k8s.io tasks ls | awk 'NR > 1 {print $2}'); do
    [[ $(readlink "/proc/$pid/exe") == "$2" ]] && awk '/^VmRSS:/ {printf "%.1f MiB", $2 / 1024}' "/proc/$pid/status"
  done
}

# The value of what cluster2 has of cluster1's secret.
arrived() { [[ $(k cluster2 get secret peer-cluster1-storage-peer-token -o jsonpath='{.data.token}' | base64 -d) == "$1" ]]; }

# rotate VALUE: gives cluster1 another secret.
rotate() { k cluster1 create secret generic storage-peer-token --from-literal=token="$1" --dry-run=client -o yaml | k cluster1 apply -f - >/dev/null 2>&1; }

agent_pod() { k "$1" -n default get pod -l app.kubernetes.io/name=token-exchange-agent -o name; }

withdraw() {
  k hub delete --timeout=90s peering east-west >/dev/null
  until_ok "the targets to be withdrawn" 60 gone cluster2 secret peer-cluster1-storage-peer-token
  for name in "${spokes[@]}"; do k hub -n "$name" delete --timeout=120s managedclusteraddon tokenexchange >/dev/null; done
  for name in "${spokes[@]}"; do
    until_ok "the agent of $name to be removed" 60 gone "$name" -n default deployment token-exchange-agent
    until_ok "OCM to remove its access to the hub from $name" 120 gone "$name" -n default secret tokenexchange-hub-kubeconfig
    k "$name" delete secret storage-peer-token >/dev/null
    k "$name" delete configmap storage-ca >/dev/null
  done
  say "Peering and addons deleted: targets and agents are gone"
}

# gone CLUSTER kubectl-arguments...: whether an object is not there.
gone() {
  local name=$1
  shift
  [[ -z $(k "$name" get --ignore-not-found -o name "$@") ]]
}

nothing_is_left() {
  until_ok "our CRDs to be removed" 60 no_crds
  for name in "${clusters[@]}"; do
    # The agent's key pair stays on purpose: a cluster that gets the agent again is known by it (docs/operations.md).
    for namespace in default open-cluster-management-agent-addon; do
      k "$name" -n "$namespace" delete --ignore-not-found secret token-exchange-agent-key >/dev/null
    done
  done
  # The garbage collector may be at work.
  until_ok "nothing to be left" 90 nothing_left
  say "nothing is left of it on any cluster"
}

nothing_left() {
  local name left
  left=$(k hub get clusterroles,clusterrolebindings,priorityclasses,clustermanagementaddons -o name | grep -E 'multicluster-orchestrator|tokenexchange' || true)
  for name in "${spokes[@]}" local-cluster; do
    left+=$(k hub -n "$name" get manifestworks,roles,rolebindings -o name | grep -E 'tokenexchange|peering' || true)
  done
  for name in "${clusters[@]}"; do
    left+=$(k "$name" get deployments,roles,rolebindings,clusterroles,clusterrolebindings,secrets,configmaps -A -o name |
      grep -E 'token-exchange|tokenexchange|peering|storage-peer' || true)
  done
  [[ -z $left ]] || { echo "left behind: $left"; return 1; }
}

our_crds() { k hub get crds -o name | grep -E '\.(peering\.open-cluster-management|multicluster\.odf\.openshift)\.io$'; }

no_crds() { ! our_crds; }

# Bundle and catalog of version 0.2.0, which hold 0.1.0 too.
make_next_release() {
  local -a variables=(IMAGE_REGISTRY="$registry" REGISTRY_NAMESPACE=e2e IMAGE_TAG=v2 VERSION=0.2.0
    REPLACES=odf-multicluster-orchestrator.v0.1.0 PREVIOUS_VERSION=0.1.0
    PREVIOUS_BUNDLE_IMG="$registry/e2e/odf-multicluster-orchestrator-bundle:v1" CATALOG_BASE="$opm_image"
    BUNDLE_DIR="$work/bundle-v2" CATALOG_DIR="$work/catalog-v2")
  {
    make "${variables[@]}" bundle
    add_a_field "$work/bundle-v2"
    make "${variables[@]}" bundle-build bundle-push catalog-build catalog-push
  } >"$work/release.log" 2>&1 || { tail -n 20 "$work/release.log" >&2; fail "release 0.2.0 cannot be made"; }
}

# The next version of a CRD has one field more.
add_a_field() {
  sed -i '0,/^          status:/s//          note: {type: string, description: A field that a later version adds.}\n          status:/' \
    "$1/manifests/peerings.peering.open-cluster-management.io.yaml"
  grep -q "A field that a later version adds" "$1/manifests/peerings.peering.open-cluster-management.io.yaml"
}

install_by_olm() {
  subscribed=$SECONDS
  subscribe_by_seed
  until_ok "ClusterServiceVersion 0.1.0" 180 succeeded odf-multicluster-orchestrator.v0.1.0
  # OLM does not install this kind: the manager makes it.
  until_ok "the ClusterManagementAddOn" 60 k hub get clustermanagementaddon tokenexchange
  look_by_seed
  say "CatalogSource and Subscription made as the README has them, the ClusterServiceVersion has succeeded"
}

succeeded() { [[ $(k hub -n olm get csv "$1" -o jsonpath='{.status.phase}') == Succeeded ]]; }

upgrade_by_olm() {
  local before next=$registry/e2e/multicluster-orchestrator:v2
  before=$(k cluster2 get secret peer-cluster1-storage-peer-token -o jsonpath='{.metadata.uid} {.metadata.resourceVersion}')
  hack/image/image.sh build "$next" Containerfile target/image/context VERSION=0.2.0 REVISION=next >/dev/null
  hack/image/image.sh push "$next" 2>/dev/null
  make_next_release
  k hub -n olm patch catalogsource odf-orchestrator --type=merge -p "{\"spec\": {\"image\": \"$registry/e2e/odf-multicluster-orchestrator-catalog:v2\"}}" >/dev/null
  until_ok "ClusterServiceVersion 0.2.0" 180 succeeded odf-multicluster-orchestrator.v0.2.0
  for name in "${spokes[@]}"; do until_ok "the next agent on $name" 120 runs_image "$name" "$next"; done
  k hub explain peerings.note >/dev/null 2>&1 || [[ $(k hub get crd peerings.peering.open-cluster-management.io -o yaml) == *"A field that a later version adds"* ]] ||
    fail "the CRD was not upgraded"
  until_ok "Peering east-west" 60 k hub wait --for=condition=Ready --timeout=5s peering/east-west
  [[ $(k cluster2 get secret peer-cluster1-storage-peer-token -o jsonpath='{.metadata.uid} {.metadata.resourceVersion}') == "$before" ]] ||
    fail "the upgrade has touched what was delivered"
  rotate after-the-upgrade
  until_ok "the secret after the upgrade" 60 arrived after-the-upgrade
  say "upgraded to 0.2.0 by a new catalog: what was delivered was not touched, the next secret has arrived"
}

runs_image() {
  [[ $(k "$1" -n default get pod -l app.kubernetes.io/name=token-exchange-agent -o jsonpath='{.items[*].spec.containers[0].image} {.items[*].status.phase}') == "$2 Running" ]]
}

uninstall_by_olm() {
  k hub -n olm delete subscription odf-orchestrator >/dev/null
  k hub -n olm delete csv --all --timeout=60s >/dev/null
  k hub -n olm delete catalogsource odf-orchestrator >/dev/null
  k hub delete clustermanagementaddon tokenexchange >/dev/null
  make uninstall KUBECTL="kubectl --kubeconfig $work/hub/kubeconfig" >/dev/null
  # OLM leaves it: it is no part of the ClusterServiceVersion.
  k hub delete --ignore-not-found priorityclass multicluster-orchestrator >/dev/null
  say "Subscription, ClusterServiceVersion, catalog and CRDs deleted"
}
