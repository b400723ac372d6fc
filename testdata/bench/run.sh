#!/usr/bin/env bash
# Measures outgrow on this machine, against psql's \copy and against its own bounds: see bench.py --help.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
[ -n "${OUTGROW:-}" ] || make -s -C "$repo" build
exec python3 "$repo/testdata/bench/bench.py" "$@"
