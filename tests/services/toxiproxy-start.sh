#!/bin/bash
# Toxiproxy, which delays, cuts and resets connections:  toxiproxy-start.sh DIR PORT   prints the URL of its API   (--fetch: build only)
#   POST URL/proxies               {"name": "es", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9200"}   answers with the port taken
#   POST URL/proxies/es/toxics     {"type": "latency", "attributes": {"latency": 200}}   (also reset_peer, timeout, bandwidth, slicer, limit_data)
#   POST URL/proxies/es            {"enabled": false}   an outage
# PORT 0 takes any free one.  Environment: CACHE.  Needs Go.  Stop with:  kill "$(cat DIR/pid)"
# Exit status: 69 when this machine lacks what it takes (one line says what), 1 when the server does not start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$("$here/go-fetch.sh" server github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0)
[ "$1" = --fetch ] && exit
mkdir -p "$1"; cd "$1"
port=$2; [ "$port" = 0 ] && port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
setsid "$program" -host 127.0.0.1 -port "$port" > log 2>&1 < /dev/null &
echo $! > pid
trap 'kill -9 "$(cat pid)" 2> /dev/null' EXIT
for _ in $(seq 100); do
  kill -0 "$(cat pid)" 2> /dev/null || break
  curl -sf -o /dev/null --max-time 5 "http://127.0.0.1:$port/version" && { trap - EXIT; echo "http://127.0.0.1:$port"; exit 0; }
  sleep 0.1
done
cat log >&2; exit 1
