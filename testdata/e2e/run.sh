#!/usr/bin/env bash
# End to end: Open WebUI itself on the source and on what outgrow made of it, their answers compared.
#
#   testdata/e2e/run.sh               the migration: SQLite, Chroma and uploads to PostgreSQL, pgvector and a shared folder,
#                                     then to S3, Google Cloud Storage and Azure Blob instead of the folder
#   testdata/e2e/run.sh --storage s3,gcs       only with these: local, s3, gcs, azure
#   testdata/e2e/run.sh --round-trip [s3,...]  to PostgreSQL, Qdrant and S3, and back by outgrow rollback: the new DATA_DIR
#                                     against an untouched copy
#   testdata/e2e/run.sh --self-test   no migration: an untouched copy must be equal, a damaged one must not
#
# Uses bin/outgrow (or the program $OUTGROW names), a PostgreSQL and object stores of its own, 127.0.0.1 and a temporary folder.
# KEEP=1 leaves that folder, with the servers' logs, for a look.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
outgrow=${OUTGROW:-$repo/bin/outgrow}
mode=${1:-migrate} storages=local,s3,gcs,azure
if [ "$mode" = --round-trip ]; then storages=${2:-s3}; elif [ "$mode" = --storage ]; then mode=migrate storages=${2:-}; fi
[[ ,$storages, =~ ^(,(local|s3|gcs|azure))+,$ ]] || mode=
[ "$mode" = migrate ] || [ "$mode" = --round-trip ] || [ "$mode" = --self-test ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
[ "$mode" = --self-test ] || [ -x "$outgrow" ] || { echo "$outgrow is not there: make build" >&2; exit 2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/outgrow-e2e.XXXXXX")
chmod 755 "$work"
pids=()
began=$(date +%s)
finish() {
	local code=$? pid server
	for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
	[ ! -d "$work/pg" ] || "$here/../servers/postgres.sh" stop "$work/pg" || true
	for server in s3 gcs azure qdrant; do
		[ ! -d "$work/$server.server" ] || "$here/../servers/$server.sh" stop "$work/$server.server" || true
	done
	wait
	if [ "${KEEP:-}" = 1 ]; then echo "kept: $work"; else rm -rf "$work"; fi
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf 'e2e %4d s  %s\n' "$SECONDS" "$*"; }

python=$("$here/openwebui.sh")
prepare() { PYTHONDONTWRITEBYTECODE=1 "$python" "$here/prepare.py" "$@"; }
read -r embeddings_port one_port other_port < <(prepare ports 3)

# serve NAME DATA_DIR PORT [VARIABLE=VALUE ...] starts Open WebUI and waits for it; its process id is in $served.
serve() {
	local name=$1 data=$2 port=$3
	shift 3
	"$here/serve.sh" "$work/$name" "$port" DATA_DIR="$data" "$@" >"$work/$name.log" 2>&1 &
	served=$!
	pids+=("$served")
	prepare wait "http://127.0.0.1:$port" "$served" || { tail -n 20 "$work/$name.log" >&2; return 1; }
}

# stop PID ends a server in order, so that nothing is left in its -wal, and waits for its end.
stop() {
	kill -INT "$1"
	wait "$1" || true
}

# compare ONE OTHER [PLACE] compares the servers of two DATA_DIRs; PLACE is where the other's files are with its provider.
compare() {
	PYTHONDONTWRITEBYTECODE=1 "$python" "$here/compare.py" --source "$work/source" --since "$began" --uploads "${3:-}" \
		--one "http://127.0.0.1:$one_port" "$1" --other "http://127.0.0.1:$other_port" "$2"
}

say "unpacking the source"
mkdir "$work/source"
tar -C "$work/source" -xzf "$here/../datadir.tar.gz"
prepare config "$work/source" "$embeddings_port"
"$python" "$here/embeddings.py" "$embeddings_port" >"$work/embeddings.log" 2>&1 &
pids+=($!)

say "reading every user's calendars once on the source (the first read makes the default ones)"
serve first "$work/source" "$one_port"
prepare calendars "http://127.0.0.1:$one_port" "$work/source"
stop "$served"

# The source's file.path names /app/backend/data, as in the container. The copy that is served has it rewritten to where
# the copy lies, as outgrow does for the target; outgrow itself reads the source as it is.
cp -a "$work/source" "$work/one"
prepare rebase "$work/one"

if [ "$mode" = --self-test ]; then
	say "self-test: the source and an untouched copy"
	cp -a "$work/source" "$work/other" && prepare rebase "$work/other"
	cp -a "$work/source" "$work/damaged" && prepare rebase "$work/damaged"
	serve one "$work/one" "$one_port"
	serve other "$work/other" "$other_port"
	compare "$work/one" "$work/other" || { say "FAILED: an untouched copy is reported different"; exit 1; }
	stop "$served"
	say "self-test: the source and a damaged copy"
	prepare damage "$work/damaged"
	serve damaged "$work/damaged" "$other_port"
	if compare "$work/one" "$work/damaged" >"$work/damaged.out"; then
		say "FAILED: the damage was not found"
		exit 1
	fi
	cat "$work/damaged.out"
	for wanted in '/channels/.*/messages' '/files/.*/content' 'retrieval query'; do
		grep -q "^DIFFERENT.*$wanted" "$work/damaged.out" || { say "FAILED: no difference in $wanted"; exit 1; }
	done
	say "self-test passed"
	exit 0
fi

say "starting PostgreSQL with pgvector"
super=$("$here/../servers/postgres.sh" start "$work/pg")
psql=$("$here/../servers/postgres.sh" install)/psql
"$psql" -qX -v ON_ERROR_STOP=1 -d "$super" -c "CREATE ROLE app LOGIN PASSWORD 'e2e-password'"

# migrated STORAGE moves the source to a fresh database and a fresh place for files, starts Open WebUI there and compares.
migrated() {
	local storage=$1 data=$work/other-$1 dsn place=
	local variables=(STORAGE_PROVIDER=local) vectors=(VECTOR_DB=pgvector)
	if [ "$storage" != local ]; then
		say "$storage: starting its server"
		local endpoint
		read -r endpoint _ < <(OUTGROW_INSTALL=1 "$here/../servers/$storage.sh" start "$work/$storage.server")
		prepare place "$storage" "$endpoint" open-webui >"$work/$storage.place"
		mapfile -t variables <"$work/$storage.place"
		place=${variables[0]} variables=("${variables[@]:1}")
	fi
	if [ "$mode" = --round-trip ]; then
		vectors=(VECTOR_DB=qdrant "QDRANT_URI=${qdrant[0]}" "QDRANT_GRPC_PORT=${qdrant[1]}" "QDRANT_COLLECTION_PREFIX=$storage")
	fi
	"$psql" -qX -v ON_ERROR_STOP=1 -d "$super" -c "CREATE DATABASE app_$storage OWNER app TEMPLATE template0"
	"$psql" -qX -v ON_ERROR_STOP=1 -d "${super/\/postgres\?/\/app_$storage?}" -c "CREATE EXTENSION vector"
	dsn=${super/postgres@/app:e2e-password@}
	dsn=${dsn/\/postgres\?/\/app_$storage?}

	mkdir "$data"
	printf '%s\n' "DATABASE_URL=$dsn" "${vectors[@]}" "DATA_DIR=$data" WEBUI_SECRET_KEY=lab-secret "${variables[@]}" >"$work/$storage.env"
	say "$storage: outgrow migrate"
	"$outgrow" migrate --from "$work/source" --to "$work/$storage.env"
	say "$storage: outgrow verify"
	"$outgrow" verify --from "$work/source" --to "$work/$storage.env"
	if [ "$storage" != local ] && [ -n "$(ls -A "$data/uploads" 2>/dev/null)" ]; then
		say "FAILED: with $storage the uploads are below DATA_DIR too"
		return 1
	fi

	if [ "$mode" = --round-trip ]; then
		data=$work/back-$storage
		say "$storage: outgrow rollback"
		"$outgrow" rollback --from "$work/$storage.env" --to "$data"
		say "$storage: starting Open WebUI on the new DATA_DIR"
		serve "back-$storage" "$data" "$other_port"
		say "$storage: comparing"
		compare "$work/one" "$data"
		stop "$served"
		say "$storage: no difference"
		return
	fi
	say "$storage: starting Open WebUI on the target, with the env file that outgrow env writes"
	"$outgrow" env --from "$work/source" --to "$work/$storage.env" --with-secrets --replicas 1 --out "$work/$storage.deploy.env"
	ENV_FILE=$work/$storage.deploy.env serve "other-$storage" /nowhere "$other_port"
	say "$storage: comparing"
	compare "$work/one" "$data" "$place"
	stop "$served"
	say "$storage: no difference"
}

if [ "$mode" = --round-trip ]; then
	say "starting Qdrant"
	read -ra qdrant < <("$here/../servers/qdrant.sh" start "$work/qdrant.server")
fi
say "starting Open WebUI on the source"
serve one "$work/one" "$one_port"
for storage in ${storages//,/ }; do migrated "$storage"; done
say "e2e passed: no difference with $storages"
