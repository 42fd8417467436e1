#!/usr/bin/env bash
# Certificates and the root key for compose.yaml, in deploy/compose/secrets: to renew the
# certificates, run it again. As root, for the files have to belong to the image's user.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
# Elsewhere for the test, which has no engine.
secrets=${LOCKBOX_SECRETS:-secrets}

../certificates.sh "$secrets" \
    node-1=node-1.lockbox.internal,node-1,localhost \
    node-2=node-2.lockbox.internal,node-2,localhost \
    node-3=node-3.lockbox.internal,node-3,localhost \
    kms=kms.lockbox.internal,kms,localhost \
    admin=admin.lockbox.internal operator=operator.lockbox.internal
mkdir -p "$secrets/root" "$secrets/administrator"
# Never over another one: without the key that it had the KMS opens nothing.
[ -f "$secrets/root/root.key" ] || openssl rand -hex 32 >"$secrets/root/root.key"
chmod 711 "$secrets"
chown -R 65532:65532 "$secrets"/{node-1,node-2,node-3,kms,admin,operator,root,administrator}
