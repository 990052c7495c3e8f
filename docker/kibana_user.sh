#!/bin/sh
# In the container of the set-up: give Kibana's own user its password. Passwords travel on standard input, never as an argument.
set -eu
curl --silent --show-error --fail --config - <<END
url = "https://elasticsearch:9200/_security/user/kibana_system/_password"
cacert = "/run/secrets/ca"
user = "elastic:$(cat /run/secrets/elastic_password)"
header = "Content-Type: application/json"
data = "{\"password\":\"$(cat /run/secrets/kibana_password)\"}"
END
