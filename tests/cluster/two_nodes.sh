#!/bin/sh
# Run a command beside a Kubernetes of two nodes on this machine: sh tests/cluster/two_nodes.sh FOLDER COMMAND...
#
# FOLDER has kube-apiserver, kube-controller-manager, kube-scheduler and kubelet, of a version from 1.20 to 1.23, whose
# kubelet speaks to dockerd. etcd is there too, or on the PATH, as are dockerd, runc, ip, nsenter, openssl and curl.
# It takes root, and cgroups of version 1. PYTHON is a Python that has pytest-clnrm.
#
# The command finds the cluster in CLNRM_KUBECONFIG, and an image of its nodes in CLNRM_CLUSTER_IMAGE. What is the cluster's
# is in name spaces of the network: one with the API server, and one for each node with its dockerd and its kubelet.
# There is no DNS, and no network that heeds policies. All of it is gone afterwards.
set -eu
[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
binaries=$(CDPATH='' cd -- "$1" && pwd)
shift
python=${PYTHON:-python3}
PATH=$binaries:$PATH
for each in kube-apiserver kube-controller-manager kube-scheduler kubelet etcd dockerd runc ip nsenter openssl curl; do
    command -v "$each" >/dev/null || { echo "${0##*/}: $each is missing" >&2; exit 2; }
done
image=clnrm-tests/shell:1
net=10.78.0
server=https://$net.10:6443
folder=$(mktemp -d /tmp/clnrm-cluster.XXXXXX)
pids=

# inside NAME COMMAND... - start a command in a name space of the network; what it says is in a log.
inside() {
    space=$1
    log=$folder/$1-$(basename "$2").log
    shift
    nsenter --net="/run/netns/$space" "$@" >"$log" 2>&1 </dev/null &
    pids="$! $pids"
}

# until_true COMMAND... - wait for a command to succeed, for a minute.
until_true() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "${0##*/}: in vain: $*" >&2; tail -n 5 "$folder"/*.log >&2; exit 1; }
        sleep 0.2
    done
}

make_space() {
    ip netns add "clnrm-$1"
    ip link add "clnrm-$1" type veth peer name eth0 netns "clnrm-$1"
    ip link set "clnrm-$1" master clnrm-cluster up
    ip -n "clnrm-$1" addr add "$net.$2/24" dev eth0
    ip -n "clnrm-$1" link set eth0 up
    ip -n "clnrm-$1" link set lo up
    ip -n "clnrm-$1" route add default via "$net.1"
}

end() {
    status=$?
    trap - EXIT INT TERM
    set +e
    # The kubelets first, which were started last: they would start again what ends.
    for pid in $pids; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
    # Containers outlive an engine that is killed; those that a stopped one leaves are below its cgroup.
    for node in 1 2; do
        for file in /sys/fs/cgroup/*/clnrm-node$node; do
            find "$file" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -9 2>/dev/null
        done
    done
    sleep 1
    awk -v folder="$folder/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
    for each in control node1 node2; do
        # The link by itself too: a process that is still there would keep it.
        ip link del "clnrm-$each"
        ip netns del "clnrm-$each"
    done
    ip link del clnrm-cluster
    iptables -D DOCKER-USER -i clnrm-cluster -o clnrm-cluster -j ACCEPT
    for file in /sys/fs/cgroup/*/clnrm-node[12]; do find "$file" -depth -type d -exec rmdir {} +; done
    rm -rf "$folder"
    exit $status
} 2>/dev/null
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ip link add clnrm-cluster type bridge
ip addr add "$net.1/24" dev clnrm-cluster
ip link set clnrm-cluster up
# Where Docker is, what is forwarded is dropped; elsewhere there is no such chain.
iptables -I DOCKER-USER -i clnrm-cluster -o clnrm-cluster -j ACCEPT 2>/dev/null || true
make_space control 10

openssl genrsa -out "$folder/accounts.key" 2048 2>/dev/null
echo "token-of-tests,admin,1,system:masters" >"$folder/tokens"
cat >"$folder/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: tests
clusters: [{name: tests, cluster: {server: "$server", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: token-of-tests}}]
contexts: [{name: tests, context: {cluster: tests, user: admin, namespace: default}}]
END
inside clnrm-control etcd --data-dir "$folder/etcd" --unsafe-no-fsync
inside clnrm-control kube-apiserver --etcd-servers=http://127.0.0.1:2379 --cert-dir="$folder/api" \
    --bind-address="$net.10" --advertise-address="$net.10" --token-auth-file="$folder/tokens" --authorization-mode=RBAC \
    --service-account-key-file="$folder/accounts.key" --service-account-signing-key-file="$folder/accounts.key" \
    --service-account-issuer=https://tests --service-cluster-ip-range=10.97.0.0/16 \
    --disable-admission-plugins=ServiceAccount --kubelet-preferred-address-types=InternalIP \
    --feature-gates=TTLAfterFinished=true
until_true curl -skf "$server/readyz"
inside clnrm-control kube-controller-manager --kubeconfig="$folder/kubeconfig" --cert-dir="$folder/controllers" \
    --service-account-private-key-file="$folder/accounts.key" --leader-elect=false --node-monitor-grace-period=15s \
    --node-monitor-period=2s --feature-gates=TTLAfterFinished=true
inside clnrm-control kube-scheduler --kubeconfig="$folder/kubeconfig" --cert-dir="$folder/scheduler" --leader-elect=false

# An engine that may not make processes harder to kill than others is asked for none of that.
cat >"$folder/runc" <<END
#!$(command -v "$python")
import json, os, sys
if "create" in sys.argv:
    file = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    config = json.load(open(file))
    config["process"]["oomScoreAdj"] = max(0, config["process"].get("oomScoreAdj") or 0)
    json.dump(config, open(file, "w"))
os.execvp("runc", ["runc", *sys.argv[1:]])
END
chmod +x "$folder/runc"
# Each node has 3 GiB and all processors but half of one.
reserved=$(awk '/^MemTotal:/ {print int($2 / 1024) - 3072}' /proc/meminfo)
for node in 1 2; do
    at=$folder/node$node
    mkdir "$at"
    make_space node$node 2$node
    inside clnrm-node$node dockerd --data-root "$at/data" --exec-root "$at/exec" --pidfile "$at/pid" -H "unix://$at/sock" \
        --add-runtime own="$folder/runc" --default-runtime own --iptables=false --ip-masq=false --bip 172.4$node.0.1/24
    for controller in /sys/fs/cgroup/*/; do
        mkdir -p "${controller}clnrm-node$node" 2>/dev/null || true
    done
    for file in cpuset.cpus cpuset.mems; do
        cat /sys/fs/cgroup/cpuset/$file >/sys/fs/cgroup/cpuset/clnrm-node$node/$file
    done
    cat >"$at/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $net.2$node
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /clnrm-node$node
enforceNodeAllocatable: [pods]
failSwapOn: false
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
maxPods: 40
resolvConf: ""
serializeImagePulls: false
systemReserved: {memory: "${reserved}Mi", cpu: 500m}
nodeStatusUpdateFrequency: 2s
END
    until_true curl -sf --unix-socket "$at/sock" http://engine/_ping
    "$python" - "$at/sock" "$root/examples" $image <<'END'
import sys
from docker import APIClient
sys.path.insert(0, sys.argv[2])
from with_engine import root_file_system
client = APIClient(base_url=f"unix://{sys.argv[1]}")
# What holds a pod's network has to end at once: a node waits for it, and forgets meanwhile how the pod has ended.
pause = '["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]'
for name, command in ((sys.argv[3], '["sh"]'), ("clnrm-tests/pause:1", pause)):
    repository, tag = name.split(":")
    client.import_image_from_data(root_file_system(), repository=repository, tag=tag, changes=[f"CMD {command}"])
END
    inside clnrm-node$node kubelet --kubeconfig="$folder/kubeconfig" --config="$at/kubelet.yaml" --root-dir="$at/kubelet" \
        --cert-dir="$at/certificates" --container-runtime=docker --docker-endpoint="unix://$at/sock" \
        --experimental-dockershim-root-directory="$at/shim" --network-plugin= --pod-infra-container-image=clnrm-tests/pause:1 \
        --hostname-override=node$node --node-ip="$net.2$node"
done
# Pods of both nodes reach one another, and this machine's processes reach the nodes.
for node in 1 2; do
    other=$((3 - node))
    ip -n clnrm-node$node route add 172.4$other.0.0/24 via "$net.2$other"
    nsenter --net=/run/netns/clnrm-node$node sysctl -qw net.ipv4.ip_forward=1
done
ready() {
    [ "$(curl -skf -H "Authorization: Bearer token-of-tests" "$server/api/v1/nodes" | grep -c KubeletReady)" = 2 ]
}
until_true ready
CLNRM_KUBECONFIG=$folder/kubeconfig CLNRM_CLUSTER_IMAGE=$image "$@"
