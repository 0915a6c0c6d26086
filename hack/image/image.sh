#!/usr/bin/env bash
# Builds and pushes images with whatever is there: docker (if its daemon answers), podman or buildah.
#   image.sh build IMAGE CONTAINERFILE CONTEXT [NAME=BUILD-ARGUMENT...]
#   image.sh push IMAGE
#   image.sh save IMAGE FILE
# CONTAINER_TOOL chooses. Times of files are those of SOURCE_DATE_EPOCH (default: the last commit), so that the same source
# gives the same digest. TLS_VERIFY=false pushes to a registry without TLS. On Debian: apt-get install buildah.
set -euo pipefail

say() { printf 'image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

tool() {
  if [[ -n ${CONTAINER_TOOL:-} ]]; then printf '%s\n' "$CONTAINER_TOOL"
  elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then echo docker
  elif command -v podman >/dev/null; then echo podman
  elif command -v buildah >/dev/null; then echo buildah
  else fail "no docker with a running daemon, no podman, no buildah: install one of them (Debian: apt-get install buildah)"; fi
}

tool=$(tool)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
if [[ $(basename "$tool") == buildah ]]; then
  # Works in a container too, and without a storage driver of its own.
  export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
fi

build() {
  local image=$1 file=$2 context=$3 argument
  local -a arguments=()
  shift 3
  for argument in "$@"; do arguments+=(--build-arg "$argument"); done
  case $(basename "$tool") in
    docker)
      SOURCE_DATE_EPOCH=$epoch docker buildx build --quiet --provenance=false --sbom=false \
        --output "type=docker,name=$image,rewrite-timestamp=true" "${arguments[@]}" -f "$file" "$context" >/dev/null
      docker image inspect --format '{{.Id}} {{.Size}}' "$image" ;;
    podman)
      podman build --quiet --timestamp "$epoch" "${arguments[@]}" -t "$image" -f "$file" "$context" >/dev/null
      podman image inspect --format '{{.Digest}} {{.Size}}' "$image" ;;
    buildah)
      buildah bud --quiet --timestamp "$epoch" --identity-label=false "${arguments[@]}" -t "$image" -f "$file" "$context" >/dev/null
      printf '%s %s\n' "$(buildah inspect --type image --format '{{.FromImageDigest}}' "$image")" \
        "$(buildah images --json "$image" | sed -n 's/.*"size": "\(.*\)".*/\1/p' | head -n 1)" ;;
    *) fail "cannot build with $tool: use docker, podman or buildah" ;;
  esac
}

push() {
  local image=$1
  local -a tls=()
  [[ ${TLS_VERIFY:-true} == true ]] || tls=(--tls-verify=false)
  case $(basename "$tool") in
    docker) docker push --quiet "$image" ;;
    podman) podman push --quiet "${tls[@]}" "$image" ;;
    buildah) buildah push --quiet "${tls[@]}" "$image" "docker://$image" ;;
    *) fail "cannot push with $tool: use docker, podman or buildah" ;;
  esac
}

save() {
  local image=$1 file=$2
  rm -f "$file"
  case $(basename "$tool") in
    docker) docker save -o "$file" "$image" ;;
    podman) podman save --quiet --format docker-archive -o "$file" "$image" ;;
    buildah) buildah push --quiet "$image" "docker-archive:$file:$image" ;;
    *) fail "cannot save with $tool: use docker, podman or buildah" ;;
  esac
}

case ${1:-} in
  build) (($# >= 4)) || fail "usage: image.sh build IMAGE CONTAINERFILE CONTEXT [NAME=ARGUMENT...]"; shift; build "$@" ;;
  push) (($# == 2)) || fail "usage: image.sh push IMAGE"; push "$2" ;;
  save) (($# == 3)) || fail "usage: image.sh save IMAGE FILE"; save "$2" "$3" ;;
  *) fail "usage: image.sh build|push|save IMAGE ..." ;;
esac
