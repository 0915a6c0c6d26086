# shellcheck shell=bash
# The commands of the Go orchestrator's README (seed/*.txt are its blocks, word for word): they work here as they stand there, but
# for the registry's address. Sourced by run.sh.

# seed FILE [FROM TO]: runs a block, with one word replaced if it says so.
seed() {
  local file=$1 from=${2:-} to=${3:-} program
  mkdir -p "$work/seed"
  for program in kubectl oc; do
    printf '#!/bin/sh\nexec "%s" --kubeconfig "%s" "$@"\n' "$(command -v kubectl)" "$work/hub/kubeconfig" >"$work/seed/$program"
    chmod +x "$work/seed/$program"
  done
  sed -e "s#quay\.io/#$registry/#" -e "s#${from:-^$}#$to#" "$here/seed/$file" >"$work/seed/$file"
  env PATH="$work/seed:$PATH" REGISTRY_NAMESPACE=e2e IMAGE_TAG=v1 IMAGE_REGISTRY="$registry" CATALOG_BASE="$opm_image" bash "$work/seed/$file"
}

# Everything from `make generate` to `make catalog-push`.
build_by_seed() {
  seed build.txt >"$work/image.log" 2>&1 || { tail -n 20 "$work/image.log" >&2; fail "the README's commands fail"; }
  read -r digest size <target/image/digest
  say "generated, built and pushed by the README's commands: image $digest, $size"
  # With other times of files.
  make docker-build IMG="$image" >>"$work/image.log" 2>&1
  [[ $(cat target/image/digest) == "$digest $size" ]] || fail "two builds of the image differ: $digest, $(cat target/image/digest)"
}

# CatalogSource and Subscription.
subscribe_by_seed() {
  seed subscribe.txt >/dev/null 2>"$work/subscribe.log" || { cat "$work/subscribe.log" >&2; fail "the README's Subscription is refused"; }
}

# What the README looks at when all is installed.
look_by_seed() {
  seed look.txt >"$work/look.log" 2>&1 || { cat "$work/look.log" >&2; fail "what the README looks for is not there"; }
}
