#!/usr/bin/env bash
# Moves files between all storage providers and has Open WebUI's own provider class read them: see storage.py --help.
#
# Needs the folder with owui_storage.py (OUTGROW_SHARED, by default ../shared). Installs Open WebUI once (7 GB) and the servers.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
export OUTGROW_SHARED=${OUTGROW_SHARED:-$repo/../shared}
export OUTGROW_CACHE=${OUTGROW_CACHE:-$HOME/.cache/outgrow}
[ -f "$OUTGROW_SHARED/tools/owui_storage.py" ] || {
	echo "storage: OUTGROW_SHARED does not name the folder with tools/owui_storage.py" >&2
	exit 1
}
OUTGROW_SHARED=$(cd "$OUTGROW_SHARED" && pwd)
if [ -z "${OUTGROW:-}" ]; then
	make -s -C "$repo" build
	OUTGROW=$repo/bin/outgrow
fi
export OUTGROW OUTGROW_INSTALL=1
python=$("$repo/testdata/e2e/openwebui.sh")
# Compiled once: starting Open WebUI's modules takes most of the time of a small run.
export OWUI_TOOLS=$OUTGROW_SHARED/tools PYTHONPYCACHEPREFIX=$OUTGROW_CACHE/pycache
exec "$python" "$repo/testdata/storage/storage.py" "$@"
