#!/usr/bin/env bash
# Prints the folder with Pinecone's Python client of the version that Open WebUI pins, which Open WebUI's own
# installation lacks. Add it to the module path of Open WebUI's Python, behind its own packages.
#
# It lives in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}/pinecone-6.0.2 (6 MB) and is fetched with OUTGROW_INSTALL=1 only.
set -euo pipefail

version=6.0.2
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}
dir=$cache/pinecone-$version
# make matrix fetches the clients of all stores together.
if [ -f "$cache/owui-clients-0.12.4/installed" ]; then
	echo "$cache/owui-clients-0.12.4"
	exit 0
fi
if [ ! -f "$dir/installed" ]; then
	if [ "${OUTGROW_INSTALL:-}" != 1 ]; then
		echo "Pinecone's Python client is not in $dir; OUTGROW_INSTALL=1 fetches it" >&2
		exit 1
	fi
	python=${1:?the Python of Open WebUI is needed}
	mkdir -p "$cache"
	exec 9>"$dir.lock"
	flock 9
	if [ ! -f "$dir/installed" ]; then
		rm -rf "$dir"
		# What else it needs, Open WebUI has.
		set -- --quiet --target "$dir" --no-deps "pinecone==$version" pinecone-plugin-interface==0.0.7 \
			protoc-gen-openapiv2==0.0.1 googleapis-common-protos lz4
		if [ -x "$cache/uv/bin/uv" ]; then
			"$cache/uv/bin/uv" pip install --python "$python" "$@" >&2
		else
			"$python" -m pip install --disable-pip-version-check "$@" >&2
		fi
		touch "$dir/installed"
	fi
fi
echo "$dir"
