#!/usr/bin/env bash
# Builds what Kubernetes' own end-to-end tests need, into DIR (default /opt/kube/e2e): e2e.test, ginkgo, which runs several
# of them at a time, and in DIR/rootfs the files of the images that their pods run. Prints the names that they know those by, a line each: of agnhost, and of one that only waits.
# About 15 minutes on 2 cores; at once where it has been done. Needs root, apt and busybox-static.
set -euo pipefail
OUT=${1:-/opt/kube/e2e}
"$(dirname "$0")/build-kubernetes.sh" "$OUT" test/e2e/e2e.test vendor/github.com/onsi/ginkgo/ginkgo test/images/agnhost >/dev/null
# agnhost does all the work; tests start it by a shell that tries again
rm -rf "$OUT/rootfs"; mkdir -p "$OUT/rootfs"/{bin,tmp,etc,proc,sys,dev}
cp /bin/busybox "$OUT/rootfs/bin/"; for a in $(busybox --list | grep -vx busybox); do ln -s busybox "$OUT/rootfs/bin/$a"; done
cp "$OUT/agnhost" "$OUT/rootfs/agnhost"
# tests of host ports ask by curl, and by a netcat that knows more than busybox's, whose shell takes its own before any in PATH
dpkg -s curl netcat-openbsd >/dev/null 2>&1 ||
  { apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends curl netcat-openbsd; } >&2
for b in curl nc.openbsd dash; do
  to=$OUT/rootfs/bin/${b%.openbsd}; [ "$b" != dash ] || to=$OUT/rootfs/bin/sh; rm -f "$to"; cp -L "$(command -v "$b")" "$to"
  for l in $(ldd "$to" | grep -o '/[^ ]*'); do mkdir -p "$OUT/rootfs/$(dirname "$l")"; cp -L "$l" "$OUT/rootfs/$l"; done
done
printf '#!/bin/sh\nexec /agnhost pause\n' >"$OUT/rootfs/pause"; chmod 755 "$OUT/rootfs/pause"
"$OUT/e2e.test" --list-images | grep /e2e-test-images/agnhost:
"$OUT/e2e.test" --list-images | grep /pause:
