#!/bin/sh
# Makes the certificates that the tests use: an authority, a server for localhost and 127.0.0.1,
# a client, and, signed by itself, a proxy for jobs.example.com. They protect nothing; they are valid for a hundred years.
set -eu
cd "$(dirname "$0")"
days=36500

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
    -subj "/CN=SharQ test authority" -keyout authority.key -out authority.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"

sign() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -CAcreateserial \
        -days $days -extfile "$1.ext" -out "$1.pem"
    rm "$1.csr" "$1.ext"
}

sign server "subjectAltName=DNS:localhost,IP:127.0.0.1"
sign client "extendedKeyUsage=clientAuth"
rm authority.key authority.srl

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
    -subj "/CN=jobs.example.com" -keyout jobs.key -out jobs.pem \
    -addext "subjectAltName=DNS:jobs.example.com"

# One that is over since 2020.
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=over" \
    -keyout over.key -out over.csr
printf '%s\n' "[ca]" "default_ca = a" "[a]" "database = over.db" "serial = over.srl" \
    "new_certs_dir = ." "default_md = sha256" "policy = p" "[p]" "commonName = supplied" >over.cnf
: >over.db
echo 01 >over.srl
openssl ca -batch -config over.cnf -selfsign -keyfile over.key -in over.csr -out over.pem -notext \
    -startdate 20200101000000Z -enddate 20200102000000Z
rm over.csr over.cnf over.db* over.srl* 01.pem
