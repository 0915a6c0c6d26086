# shellcheck shell=bash
# What every part of the e2e run uses: messages, waiting, processes in network namespaces, cleaning up. Sourced by run.sh, which sets
# $work (the run's own directory) and $bin (the directories of the binaries are in PATH).

# Names of namespaces, links and the bridge begin with this, and nothing else is ever removed.
prefix=mcoe2e
bridge=${prefix}0
bridge_address=172.30.99.1
registry=$bridge_address:5000
start_time=$SECONDS

say() { printf '[%5d s] %s\n' "$((SECONDS - start_time))" "$*"; }
fail() {
  printf '[%5d s] FAILED: %s\n' "$((SECONDS - start_time))" "$*" >&2
  exit 1
}

# Waits until a command succeeds: until_ok "what" SECONDS command... The last output is shown when the time is over, which is three
# times as long: SECONDS is for a machine with nothing else to do.
until_ok() {
  local what=$1 deadline=$((SECONDS + 3 * $2)) output
  shift 2
  until output=$("$@" 2>&1); do
    ((SECONDS < deadline)) || { printf '%s\n' "$output" >&2; fail "waited in vain for $what"; }
    sleep 0.5
  done
}

address_of() {
  case $1 in
    hub) echo 172.30.99.10 ;;
    cluster1) echo 172.30.99.11 ;;
    cluster2) echo 172.30.99.12 ;;
    *) fail "no cluster is called $1" ;;
  esac
}

# The number in a cluster's own ranges of addresses: services 10.<n>.0.0/24, pods 10.1<n>.0.0/24.
number_of() { local address; address=$(address_of "$1"); echo "${address##*.}"; }

# Not `ip netns exec`: that remounts /sys, and the kubelet then finds no cgroups.
in_ns() {
  local name=$1
  shift
  nsenter --net="/run/netns/$prefix-$name" "$@"
}

# Starts a process of a cluster: start CLUSTER COMPONENT command...
start() {
  local name=$1 component=$2
  shift 2
  # Not by in_ns: the number of a function is that of a shell, which would die and leave its process behind. What a program leaves among
  # temporary files goes with the run's directory.
  TMPDIR=$work/$name nsenter --net="/run/netns/$prefix-$name" "$@" >"$work/$name/$component.log" 2>&1 &
  printf '%s %s/%s\n' "$!" "$name" "$component" >>"$work/pids"
  # bash has nothing to say when it is killed.
  disown
}

# kubectl of a cluster's administrator.
k() {
  local name=$1
  shift
  kubectl --kubeconfig "$work/$name/kubeconfig" "$@"
}

# The processes that still run, last started first.
running() { tac "$work/pids" 2>/dev/null | while read -r pid name; do [[ -d /proc/$pid ]] && echo "$pid $name"; done; }

# Directories of this machine that containerd, CNI and the kubelet write to whatever they are told.
strewn="/var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers /run/containerd /etc/cni /usr/libexec/kubernetes"

# Notes which of them are not there yet, so that they can go afterwards.
note_strewn() {
  local directory
  for directory in $strewn; do [[ -e $directory ]] || echo "$directory"; done >"$work/strewn"
}

# What stays behind in them, by the names that only this run can have given.
remove_strewn() {
  local id file directory
  for file in "$work"/*/containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [[ -f $file ]] && rm -f "$(sed 's#^unix://##' "$file")"
  done
  for file in /var/lib/cni/results/"$prefix"-*-eth0; do
    [[ -f $file ]] || continue
    id=${file#/var/lib/cni/results/"$prefix"-}
    rm -f "$file" "/var/lib/cni/results/cni-loopback-${id%-eth0}-lo"
  done
  find /var/log/containers -lname "$work/*" -delete 2>/dev/null
  # Only what is empty goes.
  find /sys/fs/cgroup -depth -type d -path '*/k8s.io*' -exec rmdir {} + 2>/dev/null
  while read -r directory; do rm -rf "$directory"; done <"$work/strewn"
}

# Ends everything that was started, unmounts, and removes namespaces and links. Also after a run that was killed: it goes by names
# and by the run's directory alone.
clean_up() {
  local pid name mount
  set +e
  for name in hub cluster1 cluster2; do
    local socket=$work/$name/containerd.sock
    [[ -S $socket ]] || continue
    # The kubelet first, or it would start pods again.
    for pid in $(running | awk -v of="$name/kubelet" '$2 == of {print $1}'); do kill "$pid"; done
    ctr -a "$socket" -n k8s.io tasks ls -q 2>/dev/null | xargs -r -n 1 ctr -a "$socket" -n k8s.io tasks kill -s KILL >/dev/null 2>&1
  done
  for pid in $(running | cut -d' ' -f1); do kill "$pid" 2>/dev/null; done
  for _ in $(seq 50); do [[ -z $(running) ]] && break; sleep 0.1; done
  for pid in $(running | cut -d' ' -f1); do kill -KILL "$pid" 2>/dev/null; done
  # Shims outlive their containerd. Their command line names the run's directory.
  grep -lzF -- "$work/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | while read -r pid; do
    [[ $(readlink "/proc/$pid/exe") == *containerd-shim* ]] && kill -KILL "$pid" 2>/dev/null
  done
  sleep 0.5
  awk -v below="$work/" 'index($2, below) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  for name in hub cluster1 cluster2; do
    ip netns delete "$prefix-$name" 2>/dev/null
    ip link delete "$prefix-$name" 2>/dev/null
  done
  ip link delete "$bridge" 2>/dev/null
  [[ -f $work/strewn ]] && remove_strewn
  # Of preflight.sh.
  [[ -f $work/inotify ]] && cat "$work/inotify" >/proc/sys/fs/inotify/max_user_instances
  return 0
}

# What explains a failure: the state of all clusters and the ends of the logs.
explain() {
  local name
  set +e
  for name in hub cluster1 cluster2; do
    [[ -f $work/$name/kubeconfig ]] || continue
    echo "--- $name: nodes, pods, our kinds"
    k "$name" get nodes,pods -A -o wide 2>&1 | tail -n 40
    k "$name" get events -A --sort-by=.lastTimestamp 2>&1 | tail -n 15
  done
  k hub get managedclusters,managedclusteraddons,manifestworks,peerings,peerlinks -A 2>&1 | tail -n 40
  for name in hub/kube-apiserver hub/kubelet cluster1/kubelet cluster1/registration-agent cluster1/work-agent; do
    [[ -f $work/$name.log ]] || continue
    echo "--- the end of $name.log"
    tail -n 8 "$work/$name.log" | cut -c1-300
  done
}
