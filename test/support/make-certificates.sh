#!/bin/sh
# Makes throw-away certificates for tests in folder $1:
#   ca.pem                      the authority
#   server.pem  server.key      for localhost, 127.0.0.1 and ::1
#   chain.pem   chain.key       for localhost, signed by an authority between, which is in the file as well
#   expired.pem                 the same key, ended long ago
#   client.pem  client.key      Common Name $2
#   stranger.pem stranger.key   Common Name $2, signed by itself
# Needs the openssl command, 1.1.1 or later.
set -eu
cd "$1"
name="$2"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

key ca.key
key server.key
key client.key
key stranger.key
key between.key
key chain.key
openssl req -x509 -new -key ca.key -subj "/CN=Midge test authority" -days 2 -out ca.pem
openssl req -x509 -new -key stranger.key -subj "/CN=$name" -days 2 -out stranger.pem
openssl req -new -key server.key -subj "/CN=localhost" -out server.csr
openssl req -new -key client.key -subj "/CN=$name" -out client.csr
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n' > server.ext
printf 'extendedKeyUsage=clientAuth\n' > client.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile server.ext -out server.pem
openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -set_serial 3 -days 2 -extfile client.ext -out client.pem

openssl req -new -key between.key -subj "/CN=Midge test authority between" -out between.csr
openssl req -new -key chain.key -subj "/CN=localhost" -out chain.csr
printf 'basicConstraints=critical,CA:TRUE\n' > between.ext
openssl x509 -req -in between.csr -CA ca.pem -CAkey ca.key -set_serial 5 -days 2 -extfile between.ext -out between.pem
openssl x509 -req -in chain.csr -CA between.pem -CAkey between.key -set_serial 6 -days 2 -extfile server.ext -out leaf.pem
cat leaf.pem between.pem > chain.pem

# Only "openssl ca" takes dates in the past on the openssl of all supported systems.
: > index.txt
echo 04 > serial
cat > ca.cnf <<CONFIG
[ca]
default_ca = test_ca
[test_ca]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
CONFIG
openssl ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in server.csr -extfile server.ext -notext \
  -startdate 20200101000000Z -enddate 20200102000000Z -out expired.pem
