#!/bin/sh
# Make what compose.yml needs and nobody may know: passwords and certificates, into docker/secrets. Safe to repeat: what is there stays.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

password() {
    test -s "$1" || openssl rand -hex 24 > "$1"
}
password elastic_password
password kibana_password
password kibana_encryption_key
test -s elastic.env || printf 'ELASTIC_PASSWORD=%s\n' "$(cat elastic_password)" > elastic.env
test -s kibana.env || printf 'ELASTICSEARCH_PASSWORD=%s\nXPACK_ENCRYPTEDSAVEDOBJECTS_ENCRYPTIONKEY=%s\n' \
    "$(cat kibana_password)" "$(cat kibana_encryption_key)" > kibana.env

if ! test -s ca.crt; then
    openssl req -x509 -newkey rsa:3072 -sha256 -days 3650 -nodes -keyout ca.key -out ca.crt -subj '/CN=pinchpoint compose' 2>/dev/null
    openssl req -newkey rsa:3072 -sha256 -nodes -keyout elasticsearch.key -out elasticsearch.csr -subj '/CN=elasticsearch' 2>/dev/null
    printf 'subjectAltName=DNS:elasticsearch,DNS:localhost,IP:127.0.0.1\n' > san
    openssl x509 -req -in elasticsearch.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -sha256 -extfile san \
        -out elasticsearch.crt 2>/dev/null
    rm -f elasticsearch.csr san ca.srl
fi
# each container has a user of its own who must read its file; on this host the folder keeps everybody out
chmod 0444 elastic_password kibana_password ca.crt elasticsearch.crt elasticsearch.key
chmod 0700 .
echo 'docker/secrets is complete. The password of the user elastic: docker/secrets/elastic_password'
