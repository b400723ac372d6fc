#!/usr/bin/env bash
# Moves a corpus between all vector stores and has Open WebUI's own clients compare: see matrix.py --help.
#
# Needs the folder with owui_vec.py (OUTGROW_SHARED, by default ../shared). Installs Open WebUI once (7 GB), its clients and
# the servers.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
export OUTGROW_SHARED=${OUTGROW_SHARED:-$repo/../shared}
export OUTGROW_CACHE=${OUTGROW_CACHE:-$HOME/.cache/outgrow}
OUTGROW_SHARED=$(cd "$OUTGROW_SHARED" && pwd)
[ -f "$OUTGROW_SHARED/tools/owui_vec.py" ] || {
	echo "matrix: OUTGROW_SHARED does not name the folder with tools/owui_vec.py" >&2
	exit 1
}
if [ -z "${OUTGROW:-}" ]; then
	make -s -C "$repo" build
	OUTGROW=$repo/bin/outgrow
fi
export OUTGROW OUTGROW_INSTALL=1
python=$("$repo/testdata/e2e/openwebui.sh")
OWUI_VEC_OVERLAY=$("$repo/testdata/matrix/clients.sh" "$python")
# Compiled once: starting Open WebUI's modules takes half the time.
export OWUI_VEC_OVERLAY OWUI_TOOLS=$OUTGROW_SHARED/tools PYTHONPYCACHEPREFIX=$OUTGROW_CACHE/pycache
exec "$python" "$repo/testdata/matrix/matrix.py" "$@"
