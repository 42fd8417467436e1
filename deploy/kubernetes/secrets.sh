#!/usr/bin/env bash
# Certificates, the root key, and the Secrets of them that the manifests name.
#   usage: secrets.sh DIR          makes the files in DIR, and prints the Secrets as YAML
#   secrets.sh ~/lockbox-secrets | kubectl apply -f -
# DIR has the authority's key and the root key afterwards: keep it where backups are kept, not here.
# To renew the certificates, run it again, apply, and: kubectl rollout restart -n lockbox statefulset
# LOCKBOX_NODE_IDS   node ids of the pods lockbox-0, -1 and -2, as in config.yaml; "1 2 3"
set -euo pipefail
umask 077

[ $# -eq 1 ] || { sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
directory=$1
read -ra ids <<<"${LOCKBOX_NODE_IDS:-1 2 3}"

subjects=()
for pod in "${!ids[@]}"; do
    name=lockbox-$pod
    subjects+=("$name=node-${ids[$pod]}.lockbox.internal,$name.lockbox-nodes.lockbox.svc,lockbox.lockbox.svc,lockbox.lockbox.svc.cluster.local,localhost")
done
subjects+=("kms=kms.lockbox.internal,lockbox-kms.lockbox.svc,lockbox-kms.lockbox.svc.cluster.local,localhost")
"$(dirname "$0")/../certificates.sh" "$directory" "${subjects[@]}" \
    admin=admin.lockbox.internal operator=operator.lockbox.internal
# Never over another one: without the key that it had the KMS opens nothing.
[ -f "$directory/root.key" ] || openssl rand -hex 32 >"$directory/root.key"

secret() { # name, file...
    local name=$1 file
    shift
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: lockbox\ndata:\n' "$name"
    for file in "$@"; do
        printf '  %s: %s\n' "$(basename "$file")" "$(base64 -w0 <"$file")"
    done
}
tls() { secret "$1" "$directory/$2"/{tls.pem,tls-key.pem,ca.pem}; }

for pod in "${!ids[@]}"; do tls "lockbox-$pod-tls" "lockbox-$pod"; done
tls lockbox-kms-tls kms
tls lockbox-admin-tls admin
secret lockbox-kms-root "$directory/root.key"
