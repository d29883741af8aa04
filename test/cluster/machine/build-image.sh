#!/usr/bin/env bash
# Builds Skylane's image from the Dockerfile without Docker and without an image registry: buildah on a base that
# debootstrap and the npm package of Node for this platform make here. The base is cached; only what changed is built again.
#
#   build-image.sh TAG TARFILE      e.g. build-image.sh localhost/skylane:test /var/tmp/skylane.tar
#
# Needs root, buildah, debootstrap and the project's npm packages. Debian's mirror is the one that apt uses.
set -euo pipefail
TAG=$1 TAR=$2
mkdir -p "$(dirname "$TAR")"
ROOT=$(cd "$(dirname "$0")/../../.." && pwd)
CACHE=${SKYLANE_IMAGE_CACHE:-/var/tmp/skylane-image}
BASE=localhost/skylane-base:node RUNTIME=localhost/skylane-base:debian
# chroot isolation and vfs: neither namespaces nor overlayfs of the machine are needed
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=chroot
say() { echo ">> $*" >&2; }

NODE=$(readlink -f "$ROOT/node_modules/.bin/node")
VERSION=$("$NODE" --version)
if ! buildah inspect --type image "$BASE" 2>/dev/null | grep -q "\"skylane.node\": \"$VERSION\""; then
  say "base image: Debian bookworm with Node $VERSION"
  mkdir -p "$CACHE"
  rootfs=$CACHE/rootfs
  if [ ! -f "$rootfs/.complete" ]; then
    rm -rf "$rootfs"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    debootstrap --variant=minbase --include=ca-certificates,libatomic1,libstdc++6 bookworm "$rootfs" "$mirror" >"$CACHE/debootstrap.log" 2>&1 ||
      { tail -n 20 "$CACHE/debootstrap.log" >&2; exit 1; }
    rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/*
    touch "$rootfs/.complete"
  fi
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$rootfs" / >/dev/null
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah commit --quiet --rm "$container" "$RUNTIME" >/dev/null
  # what the official Node image has on top: node and npm below /usr/local
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  container=$(buildah from "$RUNTIME")
  buildah add --quiet --chmod 755 "$container" "$NODE" /usr/local/bin/node >/dev/null
  buildah add --quiet "$container" "$npm" /usr/local/lib/node_modules/npm >/dev/null
  buildah run "$container" -- ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
  buildah config --label skylane.node="$VERSION" "$container"
  buildah commit --quiet --rm "$container" "$BASE" >/dev/null
fi

# npm inside the build trusts what this machine's Node trusts, and uses the registry that npm here is set to
mounts=() build=()
if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
  mounts=(--volume "$NODE_EXTRA_CA_CERTS:/run/extra-ca.crt:ro")
  build=(--env NODE_EXTRA_CA_CERTS=/run/extra-ca.crt)
fi
say "image $TAG"
buildah bud --quiet --layers --network host --build-arg "BASE=$BASE" --build-arg "RUNTIME=$RUNTIME" \
  --build-arg "REVISION=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)" \
  "${mounts[@]}" "${build[@]}" --tag "$TAG" "$ROOT" >&2
rm -f "$TAR"
buildah push --quiet "$TAG" "docker-archive:$TAR:$TAG"
