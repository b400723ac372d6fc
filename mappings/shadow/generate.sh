#!/usr/bin/env bash
# Makes keys.tsv with the real Open WebUI; --check makes it elsewhere and compares, exit 1 where it differs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
python=$("$here/../../testdata/e2e/openwebui.sh" 0.12.4)
config=$("$python" -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("open_webui").origin).parent / "config.py")')
made=$("$python" "$here/keys.py" "$config")
if [ "${1:-}" = --check ]; then
	diff -u --label keys.tsv --label made "$here/keys.tsv" - <<<"$made"
	echo "keys.tsv: equal to what Open WebUI 0.12.4 has"
else
	printf '%s\n' "$made" >"$here/keys.tsv"
fi
