#!/bin/bash
# Start a real single-node Elasticsearch from its Maven artifact (no container), on 127.0.0.1 only.
#
#   es-start.sh VERSION DIR PORT [--secure] ['SETTING: VALUE' ...]      prints the URL when ready
#   es-start.sh --again DIR           the server of DIR once more, after its end: same port, settings, data and users
#   es-start.sh VERSION --fetch       only fetches, unpacks, builds: under netns-run.sh nothing can be fetched
#
# VERSION   9.2.0 or 8.19.5                DIR   data, logs and configuration of this node
# PORT      0 takes any free one           --secure  users, API keys and HTTPS: user elastic, password $ES_PASSWORD
#           (default "pinchpoint"), authority DIR/conf/ca/ca.crt
# Environment: ES_HEAP (default 512m), ES_JAVA_HOME (a JDK, 21 or newer; default: found),
#              ES_BENCH=1 (the full compiler: slower start, faster under load),
#              CACHE (default ${XDG_CACHE_HOME:-~/.cache}/pinchpoint), MAVEN_REPO (local repository)
# Stop: kill "$(cat DIR/pid)" (1 to 2 s).
# Exit status: 69 when this machine lacks what it takes (one line says what), 1 when the server does not start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pinchpoint}; mkdir -p "$cache"
lacks() { echo "$1" >&2; exit 69; }

if [ "$1" = --again ]; then
  dir=$(cd "$2" && pwd) again=true
  { read -r version; read -r secure; read -r port; } < "$dir/started"
else
  version=$1 dir=$2 port=${3:-} again=false secure=false; shift $(($# < 3 ? $# : 3))
  [ "${1:-}" = --secure ] && { secure=true; shift; }
fi
home=$cache/elasticsearch-$version

for tool in curl flock openssl python3; do command -v $tool > /dev/null || lacks "$tool is not on PATH"; done
# Elasticsearch refuses to run as root: root starts it as user 1000 of a user namespace of its own,
# so that the files stay root's and no account and no chown is needed.
as=()
if [ "$(id -u)" = 0 ]; then
  as=(unshare --user --map-user=1000 --map-group=1000 --)
  "${as[@]}" true 2> /dev/null || lacks "root cannot start Elasticsearch, and this machine allows no user namespace (unshare --user)"
fi

# The zip brings no JDK. Elasticsearch 9 needs 21 or newer (8.19: 17), the plugin needs javac.
if [ -z "${ES_JAVA_HOME:-}" ]; then
  for jdk in "${JAVA_HOME:-}" "$(readlink -f "$(command -v javac)" | sed 's,/bin/javac$,,')" /usr/lib/jvm/*; do
    [ -x "$jdk/bin/javac" ] || continue
    major=$("$jdk/bin/java" -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p')
    [ "${major:-0}" -ge 21 ] && { ES_JAVA_HOME=$jdk; break; }
  done
fi
[ -n "${ES_JAVA_HOME:-}" ] || lacks "no JDK 21 or newer in JAVA_HOME, on PATH or under /usr/lib/jvm"
export ES_JAVA_HOME

(                                               # fetch, unpack, add the plugin: once, under a lock
  flock 9
  if [ ! -d "$home" ]; then
    command -v mvn > /dev/null || lacks "Maven (mvn) is not on PATH"
    repo=${MAVEN_REPO:-$HOME/.m2/repository}
    mvn -q -B dependency:get -Dtransitive=false -Dmaven.repo.local="$repo" \
      -Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:"$version":zip > "$cache/mvn.log" 2>&1 \
      || lacks "Maven cannot fetch Elasticsearch $version: $(grep -m1 ERROR "$cache/mvn.log" | sed "s,.*\[ERROR\] ,,")"
    rm -rf "$cache/part"
    python3 -m zipfile -e "$repo/org/elasticsearch/distribution/integ-test-zip/elasticsearch/$version/elasticsearch-$version.zip" "$cache/part"
    chmod +x "$cache/part/elasticsearch-$version"/bin/*       # zipfile drops the mode bits
    mv "$cache/part/elasticsearch-$version" "$home"; rmdir "$cache/part"
  fi
  cmp -s "$here/es-plugin/TestNodePlugin.java" "$home/TestNodePlugin.java" || "$here/es-plugin/build.sh" "$home"
) 9> "$cache/lock"
[ "$dir" = --fetch ] && exit

es() { HOME=$dir CLI_JAVA_OPTS="-XX:TieredStopAtLevel=1 -Djava.io.tmpdir=$dir/tmp" ES_PATH_CONF=$dir/conf ES_TMPDIR=$dir/tmp exec "$@"; }

if ! $again; then
  mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
  mkdir -p "$dir/conf" "$dir/data" "$dir/logs" "$dir/tmp" "$dir/snap"
  cp -r "$home"/config/. "$dir/conf/"
  cat > "$dir/conf/elasticsearch.yml" <<YML
cluster.name: pinchpoint-test
node.name: n1
node.portsfile: true
discovery.type: single-node
network.host: 127.0.0.1
transport.port: 0
path.data: $dir/data
path.logs: $dir/logs
path.repo: [ "$dir/snap" ]
cluster.routing.allocation.disk.threshold_enabled: false
xpack.security.enabled: $secure
YML
  $secure && cat >> "$dir/conf/elasticsearch.yml" <<YML
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.certificate: http.crt
xpack.security.http.ssl.key: http.key
YML
  for setting in "$@"; do echo "$setting" >> "$dir/conf/elasticsearch.yml"; done
  { echo "-Xms${ES_HEAP:-512m}"; echo "-Xmx${ES_HEAP:-512m}"; echo "-XX:-AlwaysPreTouch"
    [ -n "${ES_BENCH:-}" ] || echo "-XX:TieredStopAtLevel=1"
  } > "$dir/conf/jvm.options.d/test.options"
fi

if $secure && [ ! -f "$dir/conf/http.crt" ]; then
  (es "${as[@]}" "$home/bin/elasticsearch-keystore" add -x -f bootstrap.password) <<< "${ES_PASSWORD:-pinchpoint}" > /dev/null
  # The same with elasticsearch-certutil works too, but starts two more JVMs (6 s).
  (cd "$dir/conf" && mkdir -p ca && exec 2> "$dir/logs/openssl.log"
   openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=pinchpoint test CA" -keyout ca/ca.key -out ca/ca.crt \
     -addext "keyUsage=critical,keyCertSign,cRLSign"
   openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout http.key -out http.csr
   printf '%s\n' "subjectAltName=IP:127.0.0.1,DNS:localhost" "authorityKeyIdentifier=keyid" > http.ext
   openssl x509 -req -in http.csr -CA ca/ca.crt -CAkey ca/ca.key -CAcreateserial -days 30 -extfile http.ext -out http.crt
   cat ca/ca.crt >> http.crt)  # shown to clients, as by a server that configured itself
fi

rm -f "$dir/pid" "$dir/logs/http.ports"
# A process group of its own, that of the server too: whatever happens until it is ready, nothing stays behind.
(es setsid "${as[@]}" "$home/bin/elasticsearch" -d -p "$dir/pid" -E http.port="$port") > "$dir/logs/start.log" 2>&1 < /dev/null &
launcher=$!
trap 'kill -9 -- "-$launcher" 2> /dev/null' EXIT
wait $launcher || { tail -20 "$dir/logs/start.log" >&2; exit 1; }
echo >> "$dir/pid"                              # the server writes it without a newline
port=$(sed -nE 's/^127\.0\.0\.1:([0-9]+)$/\1/p' "$dir/logs/http.ports")
printf '%s\n' "$version" "$secure" "$port" > "$dir/started"

url=http://127.0.0.1:$port; $secure && url=https://127.0.0.1:$port
# The password goes by a pipe: a command line can be read by everyone.
ask() {
  $secure || { curl -sf "$@" > /dev/null; return; }
  curl -sf --config - --cacert "$dir/conf/ca/ca.crt" "$@" <<< "user = \"elastic:${ES_PASSWORD:-pinchpoint}\"" > /dev/null
}
# Just after the first green, requests can still get 401 while the .security index is being made:
# with security on, ready means that a role could be written.
ready() {
  ask --max-time 5 "$url/_cluster/health?wait_for_status=yellow&timeout=1s" || return 1
  $secure || return 0
  ask --max-time 5 -X PUT -H content-type:application/json "$url/_security/role/ready" -d '{}'
}
for _ in $(seq 600); do
  ready && { trap - EXIT; echo "$url"; exit 0; }
  kill -0 "$(cat "$dir/pid")" 2> /dev/null || break
  sleep 0.1
done
tail -20 "$dir/logs/pinchpoint-test.log" >&2; exit 1
