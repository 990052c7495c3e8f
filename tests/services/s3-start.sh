#!/bin/bash
# A real S3 server (versitygw, a Go program) over a plain folder:  s3-start.sh DIR PORT   prints its URL   (--fetch: build only)
#   AWS_ENDPOINT_URL=URL AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=testtest AWS_REGION=us-east-1
# Buckets are the folders under DIR/data (any file system with user attributes: ext4, xfs, tmpfs). PORT 0 takes any free one.
# Environment: CACHE.  First build 80 to 160 s; needs Go.  Stop with:  kill "$(cat DIR/pid)"
# Exit status: 69 when this machine lacks what it takes (one line says what), 1 when the server does not start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$("$here/go-fetch.sh" versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0)
[ "$1" = --fetch ] && exit
mkdir -p "$1/data"; cd "$1"
port=$2; [ "$port" = 0 ] && port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
ROOT_ACCESS_KEY=test ROOT_SECRET_KEY=testtest setsid "$program" --port "127.0.0.1:$port" --quiet posix data > log 2>&1 < /dev/null &
echo $! > pid
trap 'kill -9 "$(cat pid)" 2> /dev/null' EXIT
for _ in $(seq 100); do
  kill -0 "$(cat pid)" 2> /dev/null || break
  curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$port/" && { trap - EXIT; echo "http://127.0.0.1:$port"; exit 0; }
  sleep 0.1
done
cat log >&2; exit 1
