# shellcheck shell=bash
# Whether a machine can run it: looks for programs, then really tries what only trying tells: a network namespace with the rules
# that kube-proxy and CNI write, an overlay file system, a container in its own cgroups. Takes a second. Sourced by run.sh.

packages="containerd runc buildah containernetworking-plugins iptables conntrack iproute2 docker-registry busybox-static musl-tools openssl curl jq"
# A run was seen to take 4.5 GiB below $TMPDIR and 5 GiB of memory.
needed_disk_mib=7000
needed_memory_mib=6000
# Of the kubelets and whatever else watches files; the usual limit of 128 for all of root's processes may be used up.
needed_inotify=100
inotify=/proc/sys/fs/inotify/max_user_instances

# Prints what is in the way, if something is.
obstacle() {
  local program missing="" target
  ((EUID == 0)) || { echo "root is needed: clusters are network namespaces with kubelets"; return; }
  for program in containerd ctr runc buildah iptables conntrack ip nsenter docker-registry busybox musl-gcc openssl curl jq; do
    command -v "$program" >/dev/null || missing+=" $program"
  done
  [[ -x /usr/lib/cni/bridge ]] || missing+=" /usr/lib/cni/bridge"
  [[ -z $missing ]] || { echo "missing:$missing (Debian: apt-get install $packages)"; return; }
  for program in cargo go make git; do
    command -v "$program" >/dev/null || { echo "missing: $program"; return; }
  done
  target=$(uname -m)-unknown-linux-musl
  [[ -d $(rustc --print sysroot)/lib/rustlib/$target ]] || { echo "the image needs the Rust target $target: rustup target add $target"; return; }
  [[ -z $(ip -o link show "$bridge" 2>/dev/null) ]] || { echo "another run is there, or was killed: $here/run.sh clean DIR removes what it left"; return; }
  [[ -z $(ip route show "${bridge_address%.*}.0/24") ]] || { echo "this machine uses the addresses ${bridge_address%.*}.0/24 already"; return; }
  (($(df --output=avail -m "${TMPDIR:-/tmp}" | tail -n 1) >= needed_disk_mib)) || { echo "$needed_disk_mib MiB are needed below ${TMPDIR:-/tmp}"; return; }
  (($(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo) >= needed_memory_mib)) || { echo "$needed_memory_mib MiB of free memory are needed"; return; }
  (($(free_inotify) >= needed_inotify)) || [[ -w $inotify ]] || { echo "$inotify is too low: $needed_inotify more are needed"; return; }
  local try
  try=$(mktemp -d -t "$prefix-try.XXXXXX")
  try_network || try_mount "$try" || try_container "$try"
  umount "$try/root" 2>/dev/null
  ip netns delete "$prefix-try" 2>/dev/null
  ip link delete "$prefix-try" 2>/dev/null
  rm -rf "$try"
}

used_inotify() { find /proc/[0-9]*/fd -lname anon_inode:inotify 2>/dev/null | wc -l; }
free_inotify() { echo $(($(<"$inotify") - $(used_inotify))); }

# Raises the limit where it is too low; clean_up sets it back.
raise_inotify() {
  (($(free_inotify) < needed_inotify)) || return 0
  cat "$inotify" >"$work/inotify"
  echo $(($(used_inotify) + needed_inotify)) >"$inotify"
}

# Each try is true, and has printed why, if it has failed.
failed() {
  local what=$1 output
  shift
  output=$("$@" 2>&1) && return 1
  printf '%s: %s\n' "$what" "$(tail -n 1 <<<"$output" | cut -c1-300)"
}

try_network() {
  local inside=(nsenter "--net=/run/netns/$prefix-try")
  failed "no network namespace can be made" ip netns add "$prefix-try" ||
    failed "no link into a network namespace can be made" ip link add "$prefix-try" type bridge ||
    failed "no link into a network namespace can be made" ip -n "$prefix-try" link add v type veth peer name w ||
    failed "a network namespace cannot forward" "${inside[@]}" sysctl -qw net.ipv4.ip_forward=1 ||
    failed "iptables does not work as kube-proxy needs it" "${inside[@]}" iptables -w -t nat -A POSTROUTING \
      -m comment --comment try -m mark ! --mark 0x1/0x1 -j MASQUERADE ||
    failed "iptables does not work as kube-proxy needs it" "${inside[@]}" iptables -w -A FORWARD \
      -m conntrack --ctstate INVALID -m statistic --mode random --probability 0.5 -j DROP
}

try_mount() {
  mkdir -p "$1"/{lower/bin,upper,work,root}
  cp "$(command -v busybox)" "$1/lower/bin/busybox"
  failed "no overlay file system can be mounted below ${TMPDIR:-/tmp}" mount -t overlay overlay \
    -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/root"
}

try_container() {
  (cd "$1" && runc spec) || { echo "runc does not work"; return 0; }
  jq --arg root "$1/root" '.process.terminal = false | .process.args = ["/bin/busybox", "true"] | .root = {path: $root, readonly: true}
    | .linux.resources.memory.limit = 67108864 | .linux.resources.pids.limit = 16 | .linux.resources.cpu.shares = 10' \
    "$1/config.json" >"$1/changed" && mv "$1/changed" "$1/config.json"
  failed "no container can be run in cgroups of its own" runc --root "$1/runc" run --bundle "$1" "$prefix-try"
}
