#!/usr/bin/env bash
# outgrow beside a running Open WebUI: migrate and sync while people write, then stop, sync, verify. See live.py --help.
#
#   testdata/live/run.sh [--seeds N] [--first K] [--grow BYTES] [--writes SECONDS]
#
# Uses bin/outgrow (or the program $OUTGROW names), a PostgreSQL of its own, 127.0.0.1 and a temporary folder. KEEP=1 leaves it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
outgrow=${OUTGROW:-$here/../../bin/outgrow}
[ -x "$outgrow" ] || { echo "$outgrow is not there: make build" >&2; exit 2; }
python=$("$here/../e2e/openwebui.sh")
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/live.py" --outgrow "$outgrow" "$@"
