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
  make docker-build docker-push IMG="$image" >"$work/image.log" 2>&1 || { tail -n 20 "$work/image.log" >&2; fail "the image cannot be built"; }
  twice
  say "image built and pushed to the local registry: $(cut -d' ' -f2- target/image/digest)"
  for name in "${clusters[@]}"; do
    make_namespace "$name"
    start_control_plane "$name"
  done
  for name in "${clusters[@]}"; do start_controllers "$name"; done
  for name in "${clusters[@]}"; do start_node "$name"; done
  for name in "${clusters[@]}"; do await_node "$name"; done
  say "three clusters with a ready node each"
  install_hub
  for name in "${spokes[@]}"; do join "$name"; done
  for name in "${spokes[@]}"; do
    until_ok "$name to be available" 90 k hub wait --for=condition=ManagedClusterConditionAvailable --timeout=5s "managedcluster/$name"
  done
  say "Open Cluster Management runs, cluster1 and cluster2 are available"
  install_by_kustomize
  install_agents
  peer
  faults
  withdraw
  make undeploy KUBECTL="kubectl --kubeconfig $work/hub/kubeconfig" >/dev/null
  nothing_is_left
  install_by_helm
  nothing_is_left
  make_olm_images
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

# Building it again, with other times of files, gives the same digest.
twice() {
  local first
  first=$(cat target/image/digest)
  make docker-build IMG="$image" >>"$work/image.log" 2>&1
  [[ $(cat target/image/digest) == "$first" ]] || fail "two builds of the image differ: $first, $(cat target/image/digest)"
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
  for name in "${spokes[@]}"; do
    sed "s/cluster1/$name/" manifests/samples/managedclusteraddon.yaml | k hub apply -f - >/dev/null
  done
  for name in "${spokes[@]}"; do
    until_ok "the agent's pod on $name" 90 k "$name" -n default wait --for=condition=Ready --timeout=5s pod -l app.kubernetes.io/name=token-exchange-agent
    until_ok "the addon of $name" 120 k hub -n "$name" wait --for=condition=Available --timeout=5s managedclusteraddon/tokenexchange
  done
  say "agent pods run on both clusters, their addons are available"
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

faults() {
  local pod
  pod=$(agent_pod cluster2)
  k cluster2 create -f - --raw "/api/v1/namespaces/default/pods/${pod#pod/}/eviction" >/dev/null <<EOF
{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "${pod#pod/}", "namespace": "default"}}
EOF
  rotate after-the-eviction
  until_ok "the secret after the agent was evicted" 120 arrived after-the-eviction
  say "cluster2's agent was evicted; its successor has brought the next secret"

  ip link set "$prefix-cluster2" down
  rotate while-cut-off
  # What the source publishes meanwhile must reach the hub, and cannot reach cluster2.
  until_ok "the hub to carry it" 60 carried
  sleep "${E2E_CUT:-20}"
  ip link set "$prefix-cluster2" up
  until_ok "the secret after the cut" 180 arrived while-cut-off
  say "cluster2 was cut off for ${E2E_CUT:-20} s; what was rotated meanwhile has arrived"

  restart_node cluster2
  rotate after-the-restart
  until_ok "the secret after the restart of the node" 180 arrived after-the-restart
  until_ok "Peering east-west" 60 k hub wait --for=condition=Ready --timeout=5s peering/east-west
  say "cluster2's node was restarted; the next secret has arrived"
}

# Whether the source's newest revision is in the export on the hub, though the destination has an older one.
carried() {
  local published applied
  published=$(k hub -n cluster1 get peerexports -o json | jq '[.items[] | select(.spec.artefact == "peer-token") | .status.revision] | max')
  applied=$(k hub -n cluster2 get peerlinks -o json | jq '[.items[] | select(.spec.artefact == "peer-token") | .status.appliedRevision] | max')
  ((published > applied))
}

# As after a power cut: every process of the node is killed, then started anew.
restart_node() {
  local name=$1 pid component
  for component in kubelet kube-proxy; do
    for pid in $(running | awk -v of="$name/$component" '$2 == of {print $1}'); do kill -KILL "$pid"; done
  done
  ctr -a "$work/$name/containerd.sock" -n k8s.io tasks ls -q | xargs -r -n 1 ctr -a "$work/$name/containerd.sock" -n k8s.io tasks kill -s KILL >/dev/null 2>&1 || true
  for pid in $(running | awk -v of="$name/containerd" '$2 == of {print $1}'); do kill -KILL "$pid"; done
  start_node "$name"
}

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
  local name left
  until_ok "our CRDs to be removed" 60 no_crds
  left=$(k hub get clusterroles,clusterrolebindings,priorityclasses,clustermanagementaddons -o name | grep -E 'multicluster-orchestrator|tokenexchange' || true)
  for name in "${spokes[@]}"; do
    # The agent's key pair stays on purpose: a cluster that gets the agent again is known by it (docs/operations.md).
    k "$name" -n default delete --ignore-not-found secret token-exchange-agent-key >/dev/null
    left+=$(k hub -n "$name" get manifestworks,roles,rolebindings -o name | grep -E 'tokenexchange|peering' || true)
    left+=$(k "$name" get roles,rolebindings,clusterroles,clusterrolebindings,secrets,configmaps -A -o name |
      grep -E 'token-exchange|tokenexchange|peering|storage-peer' || true)
  done
  [[ -z $left ]] || fail "left behind: $left"
  say "nothing is left of it on any cluster"
}

our_crds() { k hub get crds -o name | grep -E '\.(peering\.open-cluster-management|multicluster\.odf\.openshift)\.io$'; }

no_crds() { ! our_crds; }

# make_release VERSION TAG [REPLACES PREVIOUS-VERSION PREVIOUS-BUNDLE]: bundle and catalog, with the seed's own make targets.
make_release() {
  local version=$1 tag=$2 replaces=${3:-} previous=${4:-} previous_bundle=${5:-}
  local -a variables=(IMAGE_REGISTRY="$registry" REGISTRY_NAMESPACE=e2e IMAGE_TAG="$tag" VERSION="$version" REPLACES="$replaces"
    PREVIOUS_VERSION="$previous" PREVIOUS_BUNDLE_IMG="$previous_bundle" CATALOG_BASE="$opm_image"
    BUNDLE_DIR="$work/bundle-$tag" CATALOG_DIR="$work/catalog-$tag")
  {
    make "${variables[@]}" bundle
    [[ $version == 0.1.0 ]] || add_a_field "$work/bundle-$tag"
    make "${variables[@]}" bundle-build bundle-push catalog-build catalog-push
  } >"$work/release-$tag.log" 2>&1 || { tail -n 20 "$work/release-$tag.log" >&2; fail "release $version cannot be made"; }
}

# The next version of a CRD has one field more.
add_a_field() {
  sed -i '0,/^          status:/s//          note: {type: string, description: A field that a later version adds.}\n          status:/' \
    "$1/manifests/peerings.peering.open-cluster-management.io.yaml"
  grep -q "A field that a later version adds" "$1/manifests/peerings.peering.open-cluster-management.io.yaml"
}

install_by_olm() {
  make_release 0.1.0 v1
  subscribed=$SECONDS
  k hub apply -f - >/dev/null <<EOF
apiVersion: operators.coreos.com/v1alpha1
kind: CatalogSource
metadata: {name: odf-orchestrator, namespace: olm}
spec:
  displayName: ODF Multicluster Orchestrator
  image: $registry/e2e/odf-multicluster-orchestrator-catalog:v1
  sourceType: grpc
  grpcPodConfig: {securityContextConfig: restricted}
---
apiVersion: operators.coreos.com/v1alpha1
kind: Subscription
metadata: {name: odf-orchestrator, namespace: olm}
spec: {channel: alpha, name: odf-multicluster-orchestrator, source: odf-orchestrator, sourceNamespace: olm}
EOF
  until_ok "ClusterServiceVersion 0.1.0" 180 succeeded odf-multicluster-orchestrator.v0.1.0
  # OLM does not install this kind: the manager makes it.
  until_ok "the ClusterManagementAddOn" 60 k hub get clustermanagementaddon tokenexchange
  say "CatalogSource and Subscription made, the ClusterServiceVersion has succeeded"
}

succeeded() { [[ $(k hub -n olm get csv "$1" -o jsonpath='{.status.phase}') == Succeeded ]]; }

upgrade_by_olm() {
  local before next=$registry/e2e/multicluster-orchestrator:v2
  before=$(k cluster2 get secret peer-cluster1-storage-peer-token -o jsonpath='{.metadata.uid} {.metadata.resourceVersion}')
  hack/image/image.sh build "$next" Containerfile target/image/context VERSION=0.2.0 REVISION=next >/dev/null
  hack/image/image.sh push "$next" 2>/dev/null
  make_release 0.2.0 v2 odf-multicluster-orchestrator.v0.1.0 0.1.0 "$registry/e2e/odf-multicluster-orchestrator-bundle:v1"
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
