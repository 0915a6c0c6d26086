# shellcheck shell=bash
# The images that the clusters need besides ours, and the registry that all of them are in.

make_pause_image() {
  local dir=$work/pause
  mkdir -p "$dir"
  cat >"$dir/pause.c" <<'EOF'
#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  for (;;) pause();
}
EOF
  musl-gcc -static -O2 -o "$dir/pause" "$dir/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' >"$dir/Containerfile"
  hack/image/image.sh build localhost/pause:1 "$dir/Containerfile" "$dir" >/dev/null
  hack/image/image.sh save localhost/pause:1 "$work/pause.tar" 2>/dev/null
}

start_registry() {
  cat >"$work/registry.yaml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: "$work/registry"}, delete: {enabled: true}}
http: {addr: "$registry"}
EOF
  docker-registry serve "$work/registry.yaml" >"$work/registry.log" 2>&1 &
  printf '%s registry\n' "$!" >>"$work/pids"
  until_ok "the registry" 20 curl -sf "http://$registry/v2/"
}
