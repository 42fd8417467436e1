#!/usr/bin/env bash
# Certificates, the root key, and the Secrets of them that the manifests name.
#   usage: secrets.sh DIR          makes the files in DIR, and prints the servers' Secrets as YAML
#          secrets.sh DIR admin    the same for who forms the cluster: for init.yaml, once
#   secrets.sh ~/lockbox-secrets | kubectl apply -f -
# DIR has the authority's key and the root key afterwards: keep it where backups are kept, not here.
# To renew the certificates, run it again, apply, and: kubectl rollout restart -n lockbox statefulset
# LOCKBOX_NODE_IDS   node ids of the pods lockbox-0, -1 and -2, as in config.yaml; "1 2 3"
set -euo pipefail
umask 077

usage() { sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }

[ $# -ge 1 ] && [ $# -le 2 ] && [ "${2:-admin}" = admin ] || usage
directory=$1
read -ra ids <<<"${LOCKBOX_NODE_IDS:-1 2 3}"
certificates() { "$(dirname "$0")/../certificates.sh" "$directory" "$@"; }

secret() { # name, file...
    local name=$1 file
    shift
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: lockbox\ndata:\n' \
        "$name"
    for file in "$@"; do
        printf '  %s: %s\n' "$(basename "$file")" "$(base64 -w0 <"$file")"
    done
}
tls() { secret "$1" "$directory/$2"/{tls.pem,tls-key.pem,ca.pem}; }

if [ $# -eq 2 ]; then
    certificates admin=admin.lockbox.internal
    tls lockbox-admin-tls admin
    exit
fi

# By whatever name of the service somebody calls.
service() { echo "$1.lockbox.svc,$1.lockbox.svc.cluster.local"; }
subjects=("kms=kms.lockbox.internal,$(service lockbox-kms),localhost" operator=operator.lockbox.internal)
for pod in "${!ids[@]}"; do
    own=$(service "lockbox-$pod.lockbox-nodes")
    subjects+=("lockbox-$pod=node-${ids[$pod]}.lockbox.internal,$own,$(service lockbox),localhost")
done
certificates "${subjects[@]}"
# Never over another one: without the key that it had the KMS opens nothing.
[ -f "$directory/root.key" ] || openssl rand -hex 32 >"$directory/root.key"
for pod in "${!ids[@]}"; do tls "lockbox-$pod-tls" "lockbox-$pod"; done
tls lockbox-kms-tls kms
secret lockbox-kms-root "$directory/root.key"
