#!/usr/bin/env bash
# A private authority and certificates of it, by openssl, for the layouts in this directory.
#   usage: certificates.sh DIR SUBJECT=NAME[,NAME...]...
# Makes DIR/ca.pem and DIR/ca-key.pem unless they are there, and for each subject a directory with
# tls.pem, tls-key.pem and ca.pem, anew each time: to renew, run it again. A name is a DNS name or an
# IPv4 address. Keep DIR/ca-key.pem away from the machines that serve: who has it is any node.
set -euo pipefail
umask 077

readonly CA_DAYS=3650 LEAF_DAYS=397
fail() { echo "certificates.sh: $*" >&2; exit 2; }

[ $# -ge 2 ] || { sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
command -v openssl >/dev/null || fail "openssl is needed"
directory=$1
shift
mkdir -p "$directory"
# What is half made lies beside what it is going to be, for a rename.
work=$(mktemp -d "$directory/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# One text for authority and leaves.
config() { # common name, alternative names
    cat <<END
[req]
distinguished_name = name
prompt = no
[name]
CN = $1
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
${2:+subjectAltName = $2}
END
}

make_authority() {
    config "Lockbox private CA" "" >"$work/ca.cnf"
    new_key "$work/ca-key.pem"
    openssl req -x509 -new -sha256 -config "$work/ca.cnf" -extensions authority \
        -key "$work/ca-key.pem" -days "$CA_DAYS" -out "$work/ca.pem"
    # The key first: a certificate never stands without its key.
    mv "$work/ca-key.pem" "$directory/ca-key.pem"
    mv "$work/ca.pem" "$directory/ca.pem"
    chmod 644 "$directory/ca.pem"
}

alternative_names() { # NAME,NAME...
    local name list=()
    for name in ${1//,/ }; do
        case $name in
            *[!0-9.]*) list+=("DNS:$name") ;;
            *) list+=("IP:$name") ;;
        esac
    done
    local IFS=,
    echo "${list[*]}"
}

issue() { # subject, NAME,NAME...
    local subject=$1 names=$2
    config "${names%%,*}" "$(alternative_names "$names")" >"$work/leaf.cnf"
    new_key "$work/tls-key.pem"
    openssl req -new -sha256 -config "$work/leaf.cnf" -key "$work/tls-key.pem" -out "$work/leaf.csr"
    openssl x509 -req -sha256 -in "$work/leaf.csr" -CA "$directory/ca.pem" \
        -CAkey "$directory/ca-key.pem" -set_serial "0x$(openssl rand -hex 16)" -days "$LEAF_DAYS" \
        -extfile "$work/leaf.cnf" -extensions leaf -out "$work/tls.pem" 2>/dev/null
    mkdir -p "$directory/$subject"
    cp "$directory/ca.pem" "$work/ca.pem"
    # Servers read the files again when they change, and take none that do not fit together.
    mv "$work/ca.pem" "$work/tls-key.pem" "$work/tls.pem" "$directory/$subject/"
}

for argument in "$@"; do
    case $argument in
        */* | .* | =* | *= ) fail "$argument is not of the form SUBJECT=NAME" ;;
        *=*) ;;
        *) fail "$argument is not of the form SUBJECT=NAME" ;;
    esac
done
[ -f "$directory/ca.pem" ] || make_authority
for argument in "$@"; do
    issue "${argument%%=*}" "${argument#*=}"
done
