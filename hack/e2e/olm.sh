# shellcheck shell=bash
# The Operator Lifecycle Manager on the hub: its operators as pods, the cluster's DNS, and the images that both need.

olm_image=$registry/e2e/olm:1
opm_image=$registry/e2e/opm:1

# Builds and pushes an image FROM scratch: scratch_image IMAGE ENTRYPOINT path=file...
scratch_image() {
  local image=$1 entrypoint=$2 pair root
  shift 2
  root=$(mktemp -d -p "$work")
  mkdir -p "$root/tree/tmp" "$root/tree/etc" "$root/tree/bin"
  # A COPY of buildah 1.28 would lose the mode; a tar keeps it.
  chmod 1777 "$root/tree/tmp"
  echo 'hosts: files dns' >"$root/tree/etc/nsswitch.conf"
  for pair in "$@"; do cp -L "${pair#*=}" "$root/tree/${pair%%=*}"; done
  tar -C "$root/tree" --owner=0 --group=0 -cf "$root/tree.tar" .
  printf 'FROM scratch\nADD tree.tar /\nENV PATH=/bin\nUSER 1001\nENTRYPOINT ["%s"]\n' "$entrypoint" >"$root/Containerfile"
  hack/image/image.sh build "$image" "$root/Containerfile" "$root" >/dev/null
  hack/image/image.sh push "$image" 2>/dev/null
  rm -rf "$root"
}

make_olm_images() {
  local tools
  tools=$(hack/tools.sh olm catalog cpb copy-content opm grpc_health_probe coredns)
  scratch_image "$olm_image" /bin/olm bin/cp="$(command -v busybox)" bin/olm="$tools/olm" bin/catalog="$tools/catalog" \
    bin/cpb="$tools/cpb" bin/copy-content="$tools/copy-content"
  scratch_image "$opm_image" /bin/opm bin/opm="$tools/opm" bin/grpc_health_probe="$tools/grpc_health_probe"
}

start_dns() {
  cat >"$work/hub/Corefile" <<EOF
.:53 {
  bind $(address_of hub)
  errors
  kubernetes cluster.local {
    kubeconfig $work/hub/kubeconfig
  }
}
EOF
  start hub coredns "$(hack/tools.sh coredns)/coredns" -conf "$work/hub/Corefile"
}

install_olm() {
  local crds
  crds=$(cd hack/olm/lifecycle && GOFLAGS=-mod=readonly GOWORK=off go list -m -f '{{.Dir}}' github.com/operator-framework/operator-lifecycle-manager)/deploy/chart/crds
  k hub apply --server-side -f "$crds" >/dev/null
  k hub wait --for=condition=Established --timeout=60s -f "$crds" >/dev/null
  k hub apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Namespace
metadata: {name: olm}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: olm-operator, namespace: olm}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: olm-operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: olm-operator, namespace: olm}]
---
apiVersion: operators.coreos.com/v1
kind: OLMConfig
metadata: {name: cluster}
---
apiVersion: operators.coreos.com/v1
kind: OperatorGroup
metadata: {name: olm-operators, namespace: olm}
spec: {targetNamespaces: [olm]}
$(olm_deployment olm-operator /bin/olm '"--writePackageServerStatusName", ""')
$(olm_deployment catalog-operator /bin/catalog "\"--opmImage=$opm_image\", \"--util-image=$olm_image\", \"--set-workload-user-id=true\"")
EOF
  until_ok "OLM's operators" 120 k hub -n olm wait --for=condition=Available --timeout=5s deployment/olm-operator deployment/catalog-operator
}

# olm_deployment NAME COMMAND MORE-ARGUMENTS
olm_deployment() {
  cat <<EOF
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1, namespace: olm}
spec:
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      serviceAccountName: olm-operator
      containers:
      - name: operator
        image: $olm_image
        command: [$2]
        args: ["--namespace", "olm", "--writeStatusName", "", $3]
        env:
        - {name: OPERATOR_NAMESPACE, value: olm}
        - {name: OPERATOR_NAME, value: $1}
        volumeMounts: [{name: tmp, mountPath: /tmp}]
      volumes: [{name: tmp, emptyDir: {}}]
EOF
}
