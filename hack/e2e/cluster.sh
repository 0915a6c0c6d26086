# shellcheck shell=bash
# One whole cluster in a network namespace: etcd, API server, controllers, scheduler, containerd, kubelet, kube-proxy.

make_bridge() {
  ip link add "$bridge" type bridge
  ip address add "$bridge_address/24" dev "$bridge"
  ip link set "$bridge" up
}

make_namespace() {
  local name=$1 ns=$prefix-$1
  ip netns add "$ns"
  ip link add "$ns" type veth peer name eth0 netns "$ns"
  ip link set "$ns" master "$bridge" up
  in_ns "$name" ip address add "$(address_of "$name")/24" dev eth0
  in_ns "$name" ip link set eth0 up
  in_ns "$name" ip link set lo up
  # Pods are not to find the way to the world, but a default route must be there for the cluster addresses of services.
  in_ns "$name" ip route add default via "$bridge_address"
  in_ns "$name" sysctl -qw net.ipv4.ip_forward=1
}

# The control plane of a cluster, without waiting for it.
start_control_plane() {
  local name=$1 address number dir=$work/$1 pki=$work/$1/pki
  address=$(address_of "$name") number=$(number_of "$name")
  mkdir -p "$dir"
  make_pki "$name" "$address" "10.$number.0.1"
  kubeconfig "$name" admin "$dir/kubeconfig"
  kubeconfig "$name" kubelet "$dir/kubelet.kubeconfig"
  kubeconfig "$name" kube-proxy "$dir/kube-proxy.kubeconfig"
  kubeconfig "$name" bootstrap "$dir/bootstrap.kubeconfig"
  start "$name" etcd etcd --data-dir "$dir/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:2380 \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  start "$name" kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 \
    --advertise-address="$address" --tls-cert-file="$pki/tls.crt" --tls-private-key-file="$pki/tls.key" --client-ca-file="$pki/ca.crt" \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" \
    --service-account-signing-key-file="$pki/sa.key" --service-cluster-ip-range="10.$number.0.0/24" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true --kubelet-client-certificate="$pki/admin.crt" \
    --kubelet-client-key="$pki/admin.key" --kubelet-preferred-address-types=InternalIP
}

start_controllers() {
  local name=$1 dir=$work/$1 pki=$work/$1/pki
  until_ok "the API server of $name" 90 k "$name" get --raw /readyz
  start "$name" kube-controller-manager kube-controller-manager --kubeconfig="$dir/kubeconfig" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --service-account-private-key-file="$pki/sa.key" \
    --root-ca-file="$pki/ca.crt" --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1
  start "$name" kube-scheduler kube-scheduler --kubeconfig="$dir/kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

# What makes the namespace a node.
start_node() {
  local name=$1 number dir=$work/$1 pki=$work/$1/pki
  number=$(number_of "$name")
  mkdir -p "$dir/cni" "$dir/registries/$registry" "$dir/containerd"
  cat >"$dir/registries/$registry/hosts.toml" <<EOF
server = "http://$registry"
[host."http://$registry"]
  capabilities = ["pull", "resolve"]
EOF
  cat >"$dir/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "$prefix", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.1$number.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
  # restrict_oom_score_adj: without it runc fails with "can't get final child's PID from pipe: EOF".
  cat >"$dir/containerd.toml" <<EOF
version = 2
root = "$dir/containerd/root"
state = "$dir/containerd/state"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$dir/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$dir/runc"
EOF
  cat >"$dir/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$pki/ca.crt"}}
authorization: {mode: Webhook}
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
# A developer's disk may be full to the usual limit.
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
containerRuntimeEndpoint: "unix://$dir/containerd.sock"
clusterDNS: ["$(address_of "$name")"]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: "$dir/logs"
EOF
  start "$name" containerd containerd --config "$dir/containerd.toml"
  until_ok "containerd of $name" 30 ctr -a "$dir/containerd.sock" version
  ctr -a "$dir/containerd.sock" -n k8s.io images import "$work/pause.tar" >/dev/null
  start "$name" kubelet kubelet --config="$dir/kubelet.yaml" --kubeconfig="$dir/kubelet.kubeconfig" --root-dir="$dir/kubelet" --cert-dir="$dir/kubelet/pki" \
    --hostname-override="$name" --node-ip="$(address_of "$name")"
  # The right of system:kube-proxy comes with kubeadm, not with Kubernetes: its ClusterRole does.
  start "$name" kube-proxy kube-proxy --kubeconfig="$dir/kube-proxy.kubeconfig" --hostname-override="$name" --proxy-mode=iptables \
    --conntrack-max-per-core=0 --cluster-cidr="10.1$number.0.0/24"
}

await_node() { until_ok "the node of $1" 90 k "$1" wait --for=condition=Ready --timeout=5s "node/$1"; }
