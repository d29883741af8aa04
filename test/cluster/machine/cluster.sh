#!/usr/bin/env bash
# A real Kubernetes cluster on one Linux machine, without Docker: every node is a network + mount
# namespace with a hostname of its own, running the real containerd and kubelet; the control plane is the real etcd,
# kube-apiserver, kube-controller-manager and kube-scheduler in a namespace of its own.
#
#   KUBE_BIN=DIR cluster.sh up [NODES]   start (default 3 nodes); kubeconfig at $DIR/admin.kubeconfig
#   cluster.sh node N CMD...             run CMD inside node N's namespaces
#   cluster.sh kubectl ARGS...           kubectl as cluster admin
#   cluster.sh image NAME ROOTFS_DIR [ENTRYPOINT [ARG]]   make an image of a folder, import it on every node;
#                                        ARG is what it is told where a pod says nothing
#   cluster.sh load NAME TARFILE         import an image archive on every node, and on those that come later
#   cluster.sh logs NAME                 a component's log: etcd, apiserver, kcm, sched, kubelet1, containerd1 ...
#   cluster.sh stop NAME | start NAME | restart NAME    one component, by the same names
#   cluster.sh stop-node N | start-node N [OCTET]   power a node off (its pods die, its disk stays) and on, with
#                                        the address 172.30.0.OCTET (10 + N unless given)
#   cluster.sh add-node N                a node that was not there at the start
#   cluster.sh down                      also after an `up` that failed or was killed
#
# Needs root, iproute2, etcd-server, containerd, runc, busybox-static, openssl, gcc, kubectl, and
# KUBE_BIN holding kube-apiserver kube-controller-manager kube-scheduler kubelet [kube-proxy].
# Addresses (only inside the namespaces): underlay 172.30.0.0/24 + fd30::/64, pods 10.244.0.0/16 +
# fd00:10:244::/56, services 10.96.0.0/16 + fd00:10:96::/112. DUAL=0 makes it IPv4 only.
set -euo pipefail
DIR=$(realpath -m "${CLUSTER_DIR:-/var/tmp/kcluster}"); P=${CLUSTER_PREFIX:-kc}; DUAL=${DUAL:-1}; MTU=${UNDERLAY_MTU:-1500}
KUBE_BIN=$(realpath -m "${KUBE_BIN:-$(cat "$DIR/kube_bin" 2>/dev/null || echo /opt/kube/bin)}")
CONTAINERD=${CONTAINERD:-containerd}; CTR=${CTR:-ctr}
CP=172.30.0.10; V4=10.244.0.0/16; V6=fd00:10:244::/56; S4=10.96.0.0/16; S6=fd00:10:96::/112
PODS=$V4; SVCS=$S4; [ "$DUAL" = 1 ] && { PODS=$V4,$V6; SVCS=$S4,$S6; }
VERSION= GATES=()
ask_version() { # only where it matters: the answer takes a tenth of a second
  VERSION=$("$KUBE_BIN/kubelet" --version)
  case "$VERSION$DUAL" in *v1.20.*1) GATES=(--feature-gates IPv6DualStack=true);; esac
}
say() { echo ">> $*" >&2; }
spawn() { # NAME NETNS CMD...   in the background, own process group; log, pid and command line kept
  local name=$1 ns=$2; shift 2
  mkdir -p "$DIR/cmd"; printf '%q ' "$ns" "$@" >"$DIR/cmd/$name"
  setsid ip netns exec "$ns" "$@" >>"$DIR/log/$name.log" 2>&1 </dev/null & echo $! >"$DIR/pid/$name"
}
start() { # NAME   again, as it was started before
  [ -f "$DIR/cmd/$1" ] || { echo "cluster.sh: no component $1; there are: $(ls "$DIR/cmd" 2>/dev/null | tr '\n' ' ')" >&2; exit 2; }
  local -a cmd; eval "cmd=($(cat "$DIR/cmd/$1"))"; spawn "$1" "${cmd[@]}"
}
stop() { # NAME [SIGNAL]   KILL for what need not end in order
  local f=$DIR/pid/$1 p; [ -f "$f" ] || return 0; p=$(cat "$f"); kill -"${2:-TERM}" -- -"$p" 2>/dev/null || true
  for _ in $(seq 50); do alive "$p" || break; sleep .1; done; kill -9 -- -"$p" 2>/dev/null || true; rm -f "$f"; }
alive() { ps -o stat= -g "$1" | grep -v '^Z' >/dev/null; } # SESSION   what has ended and was not reaped yet is not
cert() { # NAME SUBJECT [SAN]
  openssl req -newkey rsa:2048 -nodes -keyout "$DIR/pki/$1.key" -subj "$2" -out "$DIR/pki/$1.csr" 2>/dev/null
  openssl x509 -req -in "$DIR/pki/$1.csr" -CA "$DIR/pki/ca.crt" -CAkey "$DIR/pki/ca.key" -CAcreateserial -days 30 \
    -extfile <(echo "extendedKeyUsage=serverAuth,clientAuth"; [ -z "${3:-}" ] || echo "subjectAltName=$3") -out "$DIR/pki/$1.crt" 2>/dev/null; }
kubeconfig() { # NAME
  cat >"$DIR/$1.kubeconfig" <<K
{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":"https://$CP:6443","certificate-authority":"$DIR/pki/ca.crt"}}],
"users":[{"name":"u","user":{"client-certificate":"$DIR/pki/$1.crt","client-key":"$DIR/pki/$1.key"}}]}
K
}
node_cert() { cert node$1 /O=system:nodes/CN=system:node:node$1 "IP:172.30.0.$((10 + $1)),DNS:node$1"; kubeconfig node$1; }
k() { ip netns exec $P-cp kubectl --kubeconfig "$DIR/admin.kubeconfig" "$@"; }
in_node() { local n=$1; shift; nsenter --net=/run/netns/$P-$n --mount="$DIR/node$n/mnt" --uts="$DIR/node$n/uts" -- "$@"; }

node_numbers() { seq "$(cat "$DIR/nodes" 2>/dev/null || echo 0)"; }
import() { local l=; $CTR images import --help 2>&1 | grep -q -- --local && l=--local; in_node "$1" "$CTR" -n k8s.io images import $l "$2" >/dev/null; }
import_everywhere() { # TARFILE   on all nodes at once
  local n p pids=(); for n in $(node_numbers); do import "$n" "$1" & pids+=($!); done; for p in "${pids[@]}"; do wait "$p"; done; }
start_node() { # N [OCTET]
  local n=$1 d=$DIR/node$1 octet=${2:-$((10 + $1))}
  mkdir -p "$d"/{lib,etc-cni,opt-cni,log}
  # the node's own view of the disk: /run fresh, /var/lib/*, /etc/cni and /opt/cni its own
  cat >"$d/boot.sh" <<B
hostname node$n
mount --make-rprivate /; umount -l /run/netns 2>/dev/null
mount -t tmpfs run /run; mount --make-shared /run # as systemd has it: containers see what is mounted there later
mkdir -p /run/netns /run/lock
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/lib/skylane /opt/cni/bin /etc/cni /var/log/pods /var/log/containers
for x in kubelet containerd cni skylane; do mkdir -p $d/lib/\$x; mount --bind $d/lib/\$x /var/lib/\$x; done
mount --make-rshared /var/lib/kubelet
mount --bind $d/etc-cni /etc/cni; mount --bind $d/opt-cni /opt/cni; mkdir -p /opt/cni/bin /etc/cni/net.d
cp /usr/lib/cni/portmap /opt/cni/bin/ 2>/dev/null # as kubeadm's package brings it: hostPort needs it
mkdir -p $d/log/pods; mount --bind $d/log/pods /var/log/pods
mount -t sysfs sysfs /sys 2>/dev/null; mount --rbind $DIR/cgroup /sys/fs/cgroup
touch $d/up; exec sleep infinity
B
  rm -f "$d/up" "$d/mnt"; touch "$d/mnt"
  mountpoint -q "$DIR/cgroup" || { mkdir -p "$DIR/cgroup"; mount --rbind /sys/fs/cgroup "$DIR/cgroup"; }
  setsid ip netns exec $P-$n unshare -m -u bash "$d/boot.sh" >"$DIR/log/boot$n.log" 2>&1 </dev/null & echo $! >"$DIR/pid/boot$n"
  for _ in $(seq 100); do [ -f "$d/up" ] && break; sleep .05; done
  local pid; pid=$(cat "$DIR/pid/boot$n"); mountpoint -q "$DIR/nsmnt" || { mkdir -p "$DIR/nsmnt"; mount --bind "$DIR/nsmnt" "$DIR/nsmnt"; mount --make-private "$DIR/nsmnt"; }
  ln -sfn /proc/"$pid"/ns/mnt "$d/mnt"; ln -sfn /proc/"$pid"/ns/uts "$d/uts"
  cat >"$d/containerd.toml" <<C
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = true   # where CAP_SYS_RESOURCE is missing, pods cannot be given a lower score
C
  spawn containerd$n $P-$n nsenter --mount="$d/mnt" --uts="$d/uts" "$CONTAINERD" -c "$d/containerd.toml"
  for _ in $(seq 100); do in_node $n test -S /run/containerd/containerd.sock && break; sleep .1; done
  for t in "$DIR"/images/*.tar; do [ -e "$t" ] && import $n "$t"; done
  local root=/$P-node$n; for c in /sys/fs/cgroup/*; do [ "$c" = /sys/fs/cgroup/unified ] || mkdir -p "$c$root"; done
  for f in cpus mems; do cat /sys/fs/cgroup/cpuset/cpuset.$f >/sys/fs/cgroup/cpuset$root/cpuset.$f; done
  cat >"$d/kubelet.yaml" <<L
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $DIR/pki/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: $root
cgroupsPerQOS: true
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: [10.96.0.53]
clusterDomain: cluster.local
resolvConf: /dev/null
evictionHard: {memory.available: 50Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
maxPods: 250
registerNode: true
fileCheckFrequency: 5s
nodeStatusUpdateFrequency: 4s
serializeImagePulls: false
kubeAPIQPS: 50   # the default of recent versions; old ones take minutes for the status of 30 pods
kubeAPIBurst: 100
L
  local extra=(); case "$VERSION" in
    *v1.2[0-3].*) extra=(--container-runtime=remote --container-runtime-endpoint=unix:///run/containerd/containerd.sock);;
    *) { echo "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock"; } >>"$d/kubelet.yaml";;
  esac
  # A probe by exec that a busy machine holds up for a second says nothing of the pod, and would take it from its Services.
  case "$VERSION" in *v1.20.*) echo "featureGates: {ExecProbeTimeout: false}" >>"$d/kubelet.yaml";; esac
  case "$VERSION" in *v1.3[1-9].*|*v1.[4-9]*) echo "failCgroupV1: false" >>"$d/kubelet.yaml";; esac
  local ip=172.30.0.$octet; [ "$DUAL" = 1 ] && ip=$ip,fd30::$octet
  spawn kubelet$n $P-$n nsenter --mount="$d/mnt" --uts="$d/uts" "$KUBE_BIN/kubelet" --config "$d/kubelet.yaml" --kubeconfig "$DIR/node$n.kubeconfig" \
    --hostname-override node$n --node-ip "$ip" "${extra[@]}" "${GATES[@]}" --v=2
  if [ -x "$KUBE_BIN/kube-proxy" ]; then
    spawn proxy$n $P-$n nsenter --mount="$d/mnt" --uts="$d/uts" "$KUBE_BIN/kube-proxy" --kubeconfig "$DIR/proxy.kubeconfig" --hostname-override node$n --cluster-cidr "$PODS" --proxy-mode "${PROXY_MODE:-iptables}" --conntrack-max-per-core 0 "${GATES[@]}" --v=2
  fi
}
stop_node() { # a power cut: every process of the node dies, its namespaces' devices go, its disk stays
  local n=$1; for c in proxy kubelet containerd; do stop $c$n KILL; done
  for p in $(ip netns pids $P-$n 2>/dev/null); do kill -9 "$p" 2>/dev/null || true; done
  for g in /sys/fs/cgroup/pids/$P-node$n; do [ -d "$g" ] && find "$g" -name cgroup.procs -exec cat {} + | xargs -r kill -9 2>/dev/null || true; done
  stop boot$n KILL; ip netns del $P-$n 2>/dev/null || true; rm -f "$DIR/node$n/mnt" "$DIR/node$n/uts" "$DIR/node$n/up"; }
wire() { # NETNS HOST-OCTET   with the same MAC whenever a node is powered on again, as a machine's card has
  local number=${1##*-}; [ "$number" = cp ] && number=0
  ip netns add "$1"; ip -n "$1" link set lo up
  ip -n $P-fab link del "${P}u$2" 2>/dev/null || true
  ip link add "${P}u$2" netns $P-fab type veth peer name eth0 address "$(printf '02:00:00:00:01:%02x' "$number")" netns "$1"
  ip -n $P-fab link set "${P}u$2" master br0 mtu $MTU up
  ip -n "$1" addr add 172.30.0.$2/24 dev eth0; ip -n "$1" addr add fd30::$2/64 dev eth0 nodad
  ip -n "$1" link set eth0 mtu $MTU up; ip -n "$1" route add default via 172.30.0.1
  ip -n "$1" -6 route add default via fd30::1
}
# The API server speaks to pods as well: webhooks, aggregated APIs, the proxy to pods and Services. It is no node, so it sends what is
# for a node's pods to that node, as a cloud's route table does. Only here: nodes must reach each other's pods by themselves.
route_to_pods() { # N [OCTET]   once the node has its pod CIDRs
  local cidr cidrs= octet=${2:-$((10 + $1))}
  for _ in $(seq 120); do cidrs=$(k get node "node$1" -o 'jsonpath={.spec.podCIDRs[*]}' 2>/dev/null) && [ -n "$cidrs" ] && break; sleep .5; done
  for cidr in $cidrs; do
    case $cidr in *:*) ip -n $P-cp -6 route replace "$cidr" via fd30::$octet;; *) ip -n $P-cp route replace "$cidr" via 172.30.0.$octet;; esac
  done
}
up() {
  local nodes=${1:-3}; mkdir -p "$DIR"/{pki,log,pid,images,etcd}; echo "$KUBE_BIN" >"$DIR/kube_bin"; echo "$nodes" >"$DIR/nodes"
  say "underlay"; ip netns add $P-fab; ip -n $P-fab link add br0 type bridge; ip -n $P-fab link set br0 mtu $MTU up
  ip -n $P-fab addr add 172.30.0.1/24 dev br0; ip -n $P-fab addr add fd30::1/64 dev br0 nodad; ip netns exec $P-fab sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 || true
  wire $P-cp 10; for n in $(seq "$nodes"); do wire $P-$n $((10 + n)); done
  say "pki"; openssl req -x509 -newkey rsa:2048 -nodes -keyout "$DIR/pki/ca.key" -out "$DIR/pki/ca.crt" -subj /CN=ca -days 30 2>/dev/null
  openssl genrsa -out "$DIR/pki/sa.key" 2048 2>/dev/null
  cert apiserver /CN=kube-apiserver "IP:$CP,IP:10.96.0.1,IP:127.0.0.1,DNS:kubernetes,DNS:kubernetes.default.svc"
  cert admin /O=system:masters/CN=admin; cert kcm /CN=system:kube-controller-manager; cert sched /CN=system:kube-scheduler; cert proxy /CN=system:kube-proxy
  for n in $(seq "$nodes"); do node_cert "$n"; done
  for c in admin kcm sched proxy; do kubeconfig $c; done
  say "control plane"
  spawn etcd $P-cp etcd --data-dir "$DIR/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  spawn apiserver $P-cp "$KUBE_BIN/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address $CP --secure-port 6443 \
    --tls-cert-file "$DIR/pki/apiserver.crt" --tls-private-key-file "$DIR/pki/apiserver.key" --client-ca-file "$DIR/pki/ca.crt" \
    --kubelet-client-certificate "$DIR/pki/admin.crt" --kubelet-client-key "$DIR/pki/admin.key" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$DIR/pki/sa.key" --service-account-signing-key-file "$DIR/pki/sa.key" \
    --service-cluster-ip-range "$SVCS" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true "${GATES[@]}" ${APISERVER_ARGS:-}
  for _ in $(seq 240); do k get --raw /readyz >/dev/null 2>&1 && break; sleep .5; done; k get --raw /readyz >/dev/null
  spawn kcm $P-cp "$KUBE_BIN/kube-controller-manager" --kubeconfig "$DIR/kcm.kubeconfig" --allocate-node-cidrs --cluster-cidr "$PODS" --service-cluster-ip-range "$SVCS" \
    --service-account-private-key-file "$DIR/pki/sa.key" --root-ca-file "$DIR/pki/ca.crt" --use-service-account-credentials --leader-elect=false \
    --node-monitor-grace-period 20s --kube-api-qps 100 --kube-api-burst 200 "${GATES[@]}" ${KCM_ARGS:-}
  spawn sched $P-cp "$KUBE_BIN/kube-scheduler" --kubeconfig "$DIR/sched.kubeconfig" --leader-elect=false
  base_images; for n in $(seq "$nodes"); do say "node$n"; start_node "$n"; done
  for _ in $(seq 120); do [ "$(k get nodes -o name 2>/dev/null | wc -l)" = "$nodes" ] && break; sleep .5; done
  for n in $(seq "$nodes"); do route_to_pods "$n"; done
  k get nodes -o wide
}
base_images() {
  local r=$DIR/rootfs; mkdir -p "$r/pause" "$r/busybox/bin"
  printf '#include <unistd.h>\n#include <signal.h>\nstatic void q(int s){_exit(0);}int main(){signal(SIGTERM,q);signal(SIGINT,q);for(;;)pause();}' | gcc -static -Os -x c - -o "$r/pause/pause"
  make_image registry.k8s.io/pause:3.10 "$r/pause" /pause
  cp /bin/busybox "$r/busybox/bin/"; for a in $(busybox --list | grep -vx busybox); do ln -sf busybox "$r/busybox/bin/$a"; done; mkdir -p "$r/busybox"/{tmp,etc,proc,sys,dev}
  make_image docker.io/library/busybox:1.36 "$r/busybox" /bin/sh
}
make_image() { # NAME ROOTFS ENTRYPOINT [ARG] -> $DIR/images/*.tar (docker-archive)
  local f t; f=$(echo "$1" | tr '/:' '__'); t=$(mktemp -d); tar -C "$2" --numeric-owner -cf "$t/layer.tar" .
  local id; id=$(sha256sum "$t/layer.tar" | cut -d' ' -f1)
  echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"$3\"],\"Cmd\":[${4:+\"$4\"}],\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$id\"]}}" >"$t/config.json"
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$1\"],\"Layers\":[\"layer.tar\"]}]" >"$t/manifest.json"
  tar -C "$t" -cf "$DIR/images/$f.tar" manifest.json config.json layer.tar; rm -rf "$t"; }
down() {
  for n in $(node_numbers); do stop_node "$n"; done
  for c in sched kcm apiserver etcd; do stop $c KILL; done
  ip netns del $P-cp 2>/dev/null || true; ip netns del $P-fab 2>/dev/null || true
  umount -l "$DIR/nsmnt" 2>/dev/null || true; umount -l "$DIR/cgroup" 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d -path "*/$P-node*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$DIR"/{pki,pid,cmd,etcd,nodes,images,rootfs,node*} 2>/dev/null || true
}
case "${1:-}" in
  up) shift; ask_version; up "$@";; down) down;;
  node) shift; n=$1; shift; in_node "$n" "$@";;
  kubectl) shift; k "$@";;
  image) make_image "$2" "$3" "${4:-/bin/sh}" "${5:-}"; import_everywhere "$DIR/images/$(echo "$2" | tr '/:' '__').tar";;
  logs) cat "$DIR/log/$2.log";;
  load) mkdir -p "$DIR/images"; cp "$3" "$DIR/images/$(echo "$2" | tr '/:' '__').tar"; import_everywhere "$DIR/images/$(echo "$2" | tr '/:' '__').tar";;
  stop) stop "$2";; start) start "$2";; restart) stop "$2"; start "$2";;
  stop-node) stop_node "$2";;
  start-node) ask_version; wire "$P-$2" "${3:-$((10 + $2))}"; start_node "$2" "${3:-}"
    # elsewhere than it was: the API server may be off meanwhile, which is nothing to wait for
    [ -z "${3:-}" ] || route_to_pods "$2" "$3" >/dev/null 2>&1 </dev/null &;;
  add-node) ask_version; node_cert "$2"; echo "$2" >"$DIR/nodes"; wire "$P-$2" $((10 + $2)); start_node "$2"; route_to_pods "$2";;
  *) sed -n '2,25p' "$0"; exit 2;;
esac
