# shellcheck shell=bash
# Open Cluster Management: the hub's controllers, and registration and work agent of a managed cluster, as processes in the clusters'
# network namespaces. What they deploy are pods.

install_hub() {
  local dir=$work/hub bundle file
  bundle=$(base64 -w0 <"$dir/pki/ca.crt")
  start hub conversion-webhook conversion-webhook --kubeconfig="$dir/kubeconfig" --certdir="$dir/pki" --port=9443 \
    --health-probe-address=127.0.0.1:9444
  mkdir -p "$dir/crds"
  for file in "$ocm_crds"/hub/*.yaml; do
    # The webhook is no Service here.
    awk -v bundle="$bundle" '
      /^ +caBundle: [{][{]/ { print "        caBundle: " bundle; print "        url: https://127.0.0.1:9443/convert"; next }
      /^        service:/ { inside = 1; next }
      inside && /^          / { next }
      { inside = 0; print }' "$file" >"$dir/crds/$(basename "$file")"
  done
  k hub apply --server-side -f "$dir/crds" >/dev/null
  k hub wait --for=condition=Established --timeout=60s -f "$dir/crds" >/dev/null
  k hub create namespace open-cluster-management-hub >/dev/null
  k hub create namespace open-cluster-management >/dev/null
  k hub apply -f - >/dev/null <<'EOF'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-bootstrap}
rules:
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get, list, watch]}
- {apiGroups: [cluster.open-cluster-management.io], resources: [managedclusters], verbs: [get, list, watch, create, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-bootstrap}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-bootstrap}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: autoapproval-user}]
EOF
  until_ok "the conversion webhook" 60 in_ns hub curl -sf http://127.0.0.1:9444/readyz
  hub_controller 9501 registration-controller registration controller --feature-gates=ManagedClusterAutoApproval=true \
    --auto-approved-csr-users=autoapproval-user
  hub_controller 9502 placement-controller placement controller
  hub_controller 9503 ocm-addon-manager addon manager
}

# hub_controller PORT COMPONENT program command [flag...]
hub_controller() {
  local port=$1 component=$2
  shift 2
  start hub "$component" "$@" --kubeconfig="$work/hub/kubeconfig" --namespace=open-cluster-management-hub --disable-leader-election \
    --listen="127.0.0.1:$port"
}

# join NAME CLUSTER: makes a cluster a managed one, also the hub itself.
join() {
  local name=$1 cluster=$2 dir=$work/$2 port=9601
  mkdir -p "$dir/hub-kubeconfig"
  k "$cluster" apply --server-side -f "$ocm_crds/spoke" >/dev/null
  k "$cluster" create namespace open-cluster-management-agent >/dev/null
  k "$cluster" create namespace open-cluster-management-agent-addon >/dev/null
  # The agent would make it, but not when it gets its certificate at the same moment.
  k hub apply -f - >/dev/null <<EOF
apiVersion: cluster.open-cluster-management.io/v1
kind: ManagedCluster
metadata: {name: $name, labels: {local-cluster: "$([[ $cluster == hub ]] && echo true || echo false)"}}
spec: {hubAcceptsClient: true, managedClusterClientConfigs: [{url: "https://$(address_of "$cluster"):6443", caBundle: $(base64 -w0 <"$dir/pki/ca.crt")}]}
EOF
  start "$cluster" registration-agent registration agent --spoke-cluster-name="$name" --kubeconfig="$dir/kubeconfig" \
    --namespace=open-cluster-management-agent --agent-id="agent-$name" --disable-leader-election --listen=127.0.0.1:$port \
    --bootstrap-kubeconfig="$work/hub/bootstrap.kubeconfig" --hub-kubeconfig-dir="$dir/hub-kubeconfig" \
    --hub-kubeconfig-secret=hub-kubeconfig-secret --cluster-healthcheck-period=5s \
    --spoke-external-server-urls="https://$(address_of "$cluster"):6443"
  until_ok "the hub kubeconfig of $name" 90 test -f "$dir/hub-kubeconfig/kubeconfig"
  # A work that is deleted while the agent applies it is applied once more, from its cache. The agent makes up for that, by default
  # an hour later.
  start "$cluster" work-agent work agent --spoke-cluster-name="$name" --kubeconfig="$dir/kubeconfig" \
    --namespace=open-cluster-management-agent --agent-id="agent-$name" --disable-leader-election --listen="127.0.0.1:$((port + 1))" \
    --workload-source-driver=kube --workload-source-config="$dir/hub-kubeconfig/kubeconfig" --status-sync-interval=5s \
    --appliedmanifestwork-eviction-grace-period=30s
}
