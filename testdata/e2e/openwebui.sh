#!/usr/bin/env bash
# Makes sure that Open WebUI is installed and prints the path of the Python of its environment.
#
#   testdata/e2e/openwebui.sh [VERSION]      default 0.12.4
#
# It lives in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}/owui-VERSION (about 7 GB). Safe to call from several
# processes at once: one installs, the others wait. The last step of an installation is the file "installed";
# an environment without it is thrown away and made again.
set -euo pipefail
. "$(dirname "$0")/../servers/lib.sh"

version=${1:-0.12.4}
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}
venv=$cache/owui-$version
tools=$cache/uv

if [ -f "$venv/installed" ]; then
	echo "$venv/bin/python"
	exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/owui-$version.lock"
flock 9
if [ ! -f "$venv/installed" ]; then
	# The environment is not movable once made, so it is built in place and marked at the end.
	rm -rf "$venv"
	if ! "$tools/bin/uv" --version >/dev/null 2>&1; then
		rm -rf "$tools"
		python3 -m venv "$tools" >&2
		persist "$tools/bin/pip" install --quiet --disable-pip-version-check uv >&2
	fi
	echo "installing Open WebUI $version into $venv (about 7 GB)" >&2
	started=$SECONDS
	# 3.11 and 3.12 are the Pythons Open WebUI supports; the newest of them that is here is taken.
	for python in python3.12 python3.11 python3; do
		command -v "$python" >/dev/null && "$python" -c '' 2>/dev/null && break
	done
	"$tools/bin/uv" venv --quiet --no-python-downloads --python "$(command -v "$python")" "$venv" >&2
	persist "$tools/bin/uv" pip install --quiet --python "$venv/bin/python" "open-webui[postgres]==$version" >&2
	"$venv/bin/python" -c 'import importlib.metadata as m; m.version("open-webui")'
	touch "$venv/installed"
	echo "installed Open WebUI $version in $((SECONDS - started)) s" >&2
fi
echo "$venv/bin/python"
