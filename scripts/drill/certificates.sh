# shellcheck shell=bash
# All certificates and the authority that they come from (docs/certificates.md). Read by drill.sh.

# How often servers look at their files at most, and a second.
LOOK_SECONDS=11

rotate_certificates() {
    local before node last
    begin "all certificates and their authority rotated"
    before=$place/certificates-before
    cp -rp "$certificates" "$before"

    # Everybody trusts both: servers within ten seconds, clients once they are given the file.
    "$new/lockbox" cert rotate-authority --authority "$certificates" >/dev/null
    load_again
    sleep "$LOOK_SECONDS"
    "$new/lockbox" cert rotate --all --authority "$certificates" >"$place/rotated.txt"
    for node in "${members[@]}"; do
        shows "$(port_of "$node" api)" "$certificates/node-$node.pem"
        shows "$(port_of "$node" peer)" "$certificates/node-$node.pem"
    done
    shows "$(kms_port api)" "$certificates/kms.pem"
    sleep "$LOOK_SECONDS"

    # And now the new one alone.
    "$new/lockbox" cert rotate-authority --finish --authority "$certificates" >/dev/null
    load_again
    for node in "${members[@]}"; do
        operator "$node" cluster status >/dev/null
        turns_away "$node" "$before"
    done
    served
    # Who is started now trusts the new authority alone, and has to connect to everybody anew.
    last=$(leader)
    kill_node "$last"
    start_node "$last" "$new"
    swap_kms "$new"
    values_are_read
    finish
}

# Clients get the file of trusted authorities.
load_again() {
    load_stop
    load_start "${members[@]}"
}

# Waits until a listener shows the certificate of a file. Whoever connects has the server look.
shows() { # port, file
    local seen deadline=$((SECONDS + 60))
    while :; do
        seen=$(python3 - "$1" "$2" 2>&1 <<'PYTHON'
import re, socket, ssl, sys
socket.setdefaulttimeout(5)
try:
    shown = ssl.get_server_certificate(("localhost", int(sys.argv[1])))
except OSError as error:
    sys.exit(f"nobody shows a certificate: {error}")
block = "-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----"
first = re.search(block, open(sys.argv[2]).read(), re.S).group()
if ssl.PEM_cert_to_DER_cert(shown) != ssl.PEM_cert_to_DER_cert(first):
    sys.exit("another certificate is shown")
PYTHON
        ) && return
        [ $SECONDS -lt $deadline ] || fail "port $1 does not show $2: $seen"
        sleep 0.5
    done
}

# Waits until a node no longer takes a certificate of the old authority.
turns_away() { # node, certificates of before
    local deadline=$((SECONDS + 60))
    while "$new/lockbox" cluster status --endpoint "localhost:$(port_of "$1" peer)" \
        --server-name "node-$1.lockbox.internal" --ca "$certificates/ca.pem" --timeout 5s \
        --certificate "$2/operator.pem" --key "$2/operator-key.pem" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "node $1 still takes a certificate of the old authority"
        sleep 0.5
    done
}
