#!/usr/bin/env bash
# Makes sure that Open WebUI's own vector clients are installed beside it and prints the folder with them, which
# OWUI_VEC_OVERLAY names to owui_vec.py. The versions are those that Open WebUI 0.12.4 pins for its extra "all".
set -euo pipefail
. "$(dirname "$0")/../servers/lib.sh"

python=${1:?the Python of Open WebUI is needed}
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}
clients=$cache/owui-clients-0.12.4

mkdir -p "$cache"
exec 9>"$clients.lock"
flock 9
if [ ! -f "$clients/installed" ]; then
	rm -rf "$clients"
	echo "installing the clients of Qdrant, Milvus and Pinecone into $clients" >&2
	persist "$cache/uv/bin/uv" pip install --quiet --python "$python" --target "$clients" \
		qdrant-client==1.18.0 pymilvus==2.6.14 'pinecone[grpc]==6.0.2' >&2
	touch "$clients/installed"
fi
echo "$clients"
