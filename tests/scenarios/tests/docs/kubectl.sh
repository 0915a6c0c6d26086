#!/usr/bin/env bash
# The `kubectl` that commands of the documentation find. With DOCS_RUN=1 it is the real one (KUBECTL). Otherwise nothing changes and nothing
# is waited for: what writes is a dry run on the server, and of what waits or needs a kubelet the object is looked up.
set -euo pipefail
# A page's deadline is a user's, on clusters that run already; here it counts from the start of all processes, on any machine.
if [[ $DOCS_RUN == 1 ]]; then exec "$KUBECTL" "${@/#--timeout=*/--timeout=15m}"; fi

# Flags in front of the verb.
flags=()
while [[ ${1:-} == -* ]]; do
  case $1 in
    -n | --kubeconfig) flags+=("$1" "$2"); shift 2 ;;
    *) flags+=("$1"); shift ;;
  esac
done
verb=$1
shift
case $verb in
  get | describe | kustomize) ;;
  apply | create | patch | annotate | label | delete) set -- "$@" --dry-run=server ;;
  edit) export KUBE_EDITOR=true ;;
  logs) verb="get" ;;
  rollout)
    [[ $1 == status ]]
    shift
    verb="get"
    ;;
  wait)
    verb="get"
    objects=()
    for word in "$@"; do [[ $word == --for=* || $word == --timeout=* ]] || objects+=("$word"); done
    set -- "${objects[@]}"
    ;;
  *)
    echo "error: no test knows how to try kubectl $verb without effect" >&2
    exit 2
    ;;
esac
exec "$KUBECTL" "${flags[@]}" "$verb" "$@"
