#!/usr/bin/env bash
# Runs Open WebUI as the comparisons need it: alone on 127.0.0.1, offline, embeddings from the stand-in. Its process is this one.
#
#   serve.sh FOLDER PORT DATA_DIR=... [VARIABLE=VALUE ...]      FOLDER.cwd and FOLDER.static are made for it
#   ENV_FILE=FILE serve.sh FOLDER PORT [VARIABLE=VALUE ...]     python-dotenv's reading of FILE wins, the secret key is its own
set -euo pipefail

folder=$1 port=$2
shift 2
python=$("$(dirname "$0")/openwebui.sh")
key=(WEBUI_SECRET_KEY=lab-secret) run=()
if [ -n "${ENV_FILE:-}" ]; then key=(-u WEBUI_SECRET_KEY) run=("$python" -m dotenv -f "$ENV_FILE" run --override); fi
mkdir -p "$folder.cwd"
cd "$folder.cwd"
exec env -u DATABASE_URL -u PGVECTOR_DB_URL -u VECTOR_DB -u STORAGE_PROVIDER "${key[@]}" \
	STATIC_DIR="$folder.static" FROM_INIT_PY=true \
	OFFLINE_MODE=true HF_HUB_OFFLINE=1 ENABLE_OLLAMA_API=false ENABLE_VERSION_UPDATE_CHECK=false \
	RAG_EMBEDDING_ENGINE=openai RAG_EMBEDDING_MODEL=fake-embed ANONYMIZED_TELEMETRY=false DO_NOT_TRACK=true \
	SCARF_NO_ANALYTICS=true GLOBAL_LOG_LEVEL=WARNING "$@" \
	"${run[@]}" "$(dirname "$python")/open-webui" serve --host 127.0.0.1 --port "$port"
