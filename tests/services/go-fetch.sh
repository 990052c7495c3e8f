#!/bin/bash
# Build a Go program once and print where it is:  go-fetch.sh NAME MODULE@VERSION     NAME is what `go install` calls it
# Environment: CACHE.  Exit status: 69 when there is no Go or the module cannot be had (one line says so).
set -euo pipefail
name=$1 module=$2
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pinchpoint}
folder=$cache/go/${module//\//_}     # a program of another version is another file
mkdir -p "$cache/go"
(
  flock 9
  if [ ! -x "$folder/$name" ]; then
    command -v go > /dev/null || { echo "Go (go) is not on PATH" >&2; exit 69; }
    GOBIN=$folder go install "$module" > "$cache/go.log" 2>&1 \
      || { echo "Go cannot build $module: $(grep -v downloading "$cache/go.log" | head -1)" >&2; exit 69; }
  fi
) 9> "$cache/go/lock"
echo "$folder/$name"
