# shellcheck shell=bash
# What goes wrong on clusters, and that it heals. Sourced by run.sh.

faults() {
  local pod cut
  pod=$(agent_pod cluster2)
  k cluster2 create -f - --raw "/api/v1/namespaces/default/pods/${pod#pod/}/eviction" >/dev/null <<EOF
{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "${pod#pod/}", "namespace": "default"}}
EOF
  rotate after-the-eviction
  until_ok "the secret after the agent was evicted" 120 arrived after-the-eviction
  say "cluster2's agent was evicted; its successor has brought the next secret"

  ip link set "$prefix-cluster2" down
  cut=$SECONDS
  rotate while-cut-off
  # What the source publishes meanwhile must reach the hub, and cannot reach cluster2.
  until_ok "the hub to carry it" 60 carried
  image_cannot_be_pulled cluster1
  while ((SECONDS - cut < ${E2E_CUT:-120})); do sleep 1; done
  cut=$((SECONDS - cut))
  ip link set "$prefix-cluster2" up
  until_ok "the secret after the cut" 180 arrived while-cut-off
  say "cluster2 was cut off for $cut s; what was rotated meanwhile has arrived"

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

# A cluster's images are to come from where there are none.
image_cannot_be_pulled() {
  local name=$1
  k hub apply -f - >/dev/null <<EOF
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: nowhere, namespace: $name}
spec:
  agentInstallNamespace: ""
  registries: [{source: $registry/e2e, mirror: $registry/nowhere}]
EOF
  configure "$name" "[{\"group\": \"addon.open-cluster-management.io\", \"resource\": \"addondeploymentconfigs\", \"namespace\": \"$name\", \"name\": \"nowhere\"}]"
  until_ok "the addon of $name to say that its agent does not run" 120 degraded "$name" True WorkloadsNotReady
  until_ok "the agent's pod on $name to wait for its image" 60 waits_for_image "$name"
  configure "$name" "[]"
  until_ok "the addon of $name to be as it was" 180 degraded "$name" False WorkloadsReady
  k hub -n "$name" delete addondeploymentconfig nowhere >/dev/null
  say "$name could not pull the agent's image: its ManagedClusterAddOn said so (Degraded), and that it was well again"
}

configure() { k hub -n "$1" patch managedclusteraddon tokenexchange --type=merge -p "{\"spec\": {\"configs\": $2}}" >/dev/null; }

# degraded CLUSTER STATUS REASON
degraded() {
  [[ $(k hub -n "$1" get managedclusteraddon tokenexchange -o json |
    jq -r '.status.conditions[] | select(.type == "Degraded") | "\(.status) \(.reason)"') == "$2 $3" ]]
}

waits_for_image() {
  k "$1" -n default get pod -l app.kubernetes.io/name=token-exchange-agent -o json |
    jq -e '.items[].status.containerStatuses[]? | select(.state.waiting.reason | IN("ErrImagePull", "ImagePullBackOff"))'
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
