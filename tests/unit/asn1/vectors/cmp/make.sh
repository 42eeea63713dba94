#!/bin/sh
# Remake the vectors of this directory with OpenSSL's own CMP client and mock server; nothing is listened on.
# usage: make.sh DIRECTORY
set -eu
cd -- "$1"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
k=$work
openssl ecparam -name prime256v1 -genkey -noout -out "$k/ca.key"
openssl req -x509 -new -key "$k/ca.key" -subj "/O=Vectors/CN=CMP CA" -days 36500 -out "$k/ca.pem" \
    -addext keyUsage=digitalSignature,keyCertSign,cRLSign 2>/dev/null
issue() { # NAME KEY SUBJECT
    openssl req -new -key "$k/$2" -subj "$3" -out "$k/$1.csr" 2>/dev/null
    printf 'keyUsage=digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >"$k/ext"
    openssl x509 -req -in "$k/$1.csr" -CA "$k/ca.pem" -CAkey "$k/ca.key" -days 36500 -extfile "$k/ext" \
        -out "$k/$1.pem" 2>/dev/null
}
for name in p256 new server; do openssl ecparam -name prime256v1 -genkey -noout -out "$k/$name.key"; done
openssl genrsa -out "$k/rsa.key" 2048 2>/dev/null
openssl genpkey -algorithm ed25519 -out "$k/ed.key"
issue device p256.key "/O=Vectors/CN=device-1"
issue rsadevice rsa.key "/O=Vectors/CN=device-rsa"
issue server server.key "/O=Vectors/CN=CMP server"
mac="-ref device-1 -secret pass:vector-secret"
sign="-cert $k/device.pem -key $k/p256.key -trusted $k/ca.pem"
mock_mac="-srv_ref server -srv_secret pass:vector-secret"
mock_sign="-srv_cert $k/server.pem -srv_key $k/server.key -srv_trusted $k/ca.pem"
# NAME, then options: writes NAME-qN.der (client) and NAME-sN.der (server)
exchange() {
    name=$1
    shift
    openssl cmp -config "" -use_mock_srv -batch -verbosity 3 -rsp_cert "$k/device.pem" "$@" \
        -reqout "$k/q1,$k/q2,$k/q3,$k/q4" -rspout "$k/s1,$k/s2,$k/s3,$k/s4" >/dev/null 2>"$k/log" || cat "$k/log" >&2
    for n in 1 2 3 4; do
        [ ! -s "$k/q$n" ] || mv "$k/q$n" "$name-q$n.der"
        [ ! -s "$k/s$n" ] || mv "$k/s$n" "$name-s$n.der"
    done
}
certout="-certout $k/out.pem"
exchange ir-mac -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/O=Vectors/CN=device-1" \
    -sans "device-1.test,192.0.2.7" -days 30 -recipient "/CN=CMP CA" $certout -rsp_extracerts "$k/ca.pem" -rsp_capubs "$k/ca.pem"
exchange ir-rsa-implicit -cmd ir $mac $mock_mac -newkey "$k/rsa.key" -subject "/CN=device-rsa" \
    -recipient "/CN=CMP CA" -implicit_confirm -grant_implicitconf -digest sha512 -mac hmacWithSHA256 $certout
exchange ir-ed25519 -cmd ir $mac $mock_mac -newkey "$k/ed.key" -subject "/CN=device-ed" -recipient "/CN=CMP CA" $certout
exchange ir-ra-verified -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" \
    -popo 0 -accept_raverified $certout
exchange ir-no-pop -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" -popo -1 $certout
exchange ir-keyenc -cmd ir $mac $mock_mac -newkey "$k/rsa.key" -subject "/CN=d" -recipient "/CN=CMP CA" -popo 2 $certout
exchange ir-unprotected -cmd ir -unprotected_requests -accept_unprotected -send_unprotected -unprotected_errors $mock_mac \
    -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" $certout
exchange cr-signed -cmd cr $sign $mock_sign -newkey "$k/new.key" -subject "/O=Vectors/CN=device-1" $certout
exchange cr-rsa-signed -cmd cr -cert "$k/rsadevice.pem" -key "$k/rsa.key" -trusted "$k/ca.pem" $mock_sign \
    -newkey "$k/new.key" -subject "/CN=device-rsa" -digest sha384 $certout
exchange kur-signed -cmd kur $sign $mock_sign -newkey "$k/new.key" -oldcert "$k/device.pem" $certout
exchange p10cr-signed -cmd p10cr $sign $mock_sign -csr "$k/device.csr" -newkey "$k/p256.key" $certout
exchange rr-signed -cmd rr $sign $mock_sign -oldcert "$k/device.pem" -revreason 1
exchange genm-mac -cmd genm $mac $mock_mac -recipient "/CN=CMP CA" -infotype signKeyPairTypes \
    -geninfo 1.2.3.4:int:56789
exchange polled-mac -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" \
    -poll_count 2 -check_after 1 $certout
exchange refused-mac -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" \
    -failurebits 67108866 -pkistatus 2 -statusstring "no such device" $certout
exchange error-mac -cmd ir $mac $mock_mac -newkey "$k/new.key" -subject "/CN=d" -recipient "/CN=CMP CA" \
    -send_error -failure 5 -statusstring "wrong format" $certout
for name in ca device rsadevice server; do openssl x509 -in "$k/$name.pem" -outform DER -out "$name.crt"; done
