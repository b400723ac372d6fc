#!/usr/bin/env bash
# outgrow rehearse, looked at with Open WebUI itself: nothing that is due acts, and nothing is left of it.
#
#   testdata/e2e/rehearse.sh
#
# A data folder is given a due timer, automation and calendar alert, webhooks, an event function, an app and servers, all of which lead
# to a listener. Open WebUI on an untouched copy must act on every one of them; Open WebUI on the rehearsal, in the same time and
# then for LOOK seconds (default 30), must act on none, while people sign in and read their chats and files.
#
# Uses bin/outgrow or $OUTGROW, a PostgreSQL of its own, 127.0.0.1 and a temporary folder, which KEEP=1 leaves.
set -euo pipefail

. "$(dirname "$0")/lab.sh" rehearse

python=$("$here/openwebui.sh")
step() { "$python" "$here/rehearsal.py" "$@"; }
read -r port control_port hooks control_hooks < <("$python" "$here/prepare.py" ports 4)

say "a data folder in which everything is due"
mkdir "$work/source" "$work/share"
tar -C "$work/source" -xzf "$here/../datadir.tar.gz"
cp -a "$work/source" "$work/control"
step act "$work/source" "$hooks"
step act "$work/control" "$control_hooks"
"$python" "$here/prepare.py" rebase "$work/control"
cp -a "$work/source" "$work/asked" # SQLite leaves a -shm beside what is read here
before=$(cd "$work/source" && find . -type f -exec sha256sum {} + | sort)
for side in "$hooks:source" "$control_hooks:control"; do
	"$python" "$here/rehearsal.py" listen "${side%:*}" "$work/${side#*:}.requests" &
	pids+=($!)
done

say "starting PostgreSQL with pgvector"
super=$("$here/../servers/postgres.sh" start "$work/pg")
psql=$("$here/../servers/postgres.sh" install)/psql
sql() { "$psql" -qXtA -v ON_ERROR_STOP=1 -d "${super/\/postgres\?/\/$1?}" "${@:2}"; }
sql postgres -c "CREATE ROLE app LOGIN CREATEDB PASSWORD 'e2e-password'" -c "CREATE DATABASE app OWNER app TEMPLATE template0"
dsn=${super/postgres@/app:e2e-password@}
(umask 077; printf '%s\n' "DATABASE_URL=${dsn/\/postgres\?/\/app?}" VECTOR_DB=pgvector "DATA_DIR=$work/share" WEBUI_SECRET_KEY=lab-secret "WEBHOOK_URL=http://127.0.0.1:$hooks/events" \
	ENABLE_USER_WEBHOOKS=true >"$work/scaled.env")

say "outgrow rehearse"
# The app's token is none that any key opens.
"$outgrow" rehearse --from "$work/source" --to "$work/scaled.env" --env-out "$work/rehearsal.env" --verify --accept secret-key
due="SELECT (SELECT count(*) FROM chat WHERE timer_at IS NOT NULL OR meta->>'status' IN ('pending', 'running', 'error', 'done')), (SELECT count(*) FROM automation_run),
 (SELECT count(*) FROM automation WHERE is_active), (SELECT count(*) FROM calendar_event WHERE meta::jsonb ? 'alerted_at'), (SELECT count(*) FROM app WHERE is_active), (SELECT count(*) FROM function WHERE is_active)"
was=$(sql outgrow_rehearsal -c "$due")

say "starting Open WebUI on the rehearsal, and on an untouched copy"
common=(ENABLE_RAG_LOCAL_WEB_FETCH=true SCHEDULER_POLL_INTERVAL=1)
ENV_FILE=$work/rehearsal.env "$here/serve.sh" "$work/rehearsal" "$port" "${common[@]}" >"$work/rehearsal.log" 2>&1 &
app=$!
"$here/serve.sh" "$work/untouched" "$control_port" "DATA_DIR=$work/control" "${common[@]}" >"$work/control.log" 2>&1 &
control=$!
pids+=("$app" "$control")
"$python" "$here/prepare.py" wait "http://127.0.0.1:$port" "$app" || { tail -n 20 "$work/rehearsal.log"; exit 1; }
up=$SECONDS
step acted "$work/control" "$work/control.requests" "$work/control.log"
step look "http://127.0.0.1:$port" "$work/asked"
rest=$((up + ${LOOK:-30} - SECONDS))
[ $rest -le 0 ] || sleep "$rest"

say "up for $((SECONDS - up)) s"
# What the app asks a model's server for is no act: it lists the models that people may choose.
if grep -v '^GET /v1/models' "$work/source.requests"; then fail "the rehearsal reached the listener"; fi
if grep 'App due socket' "$work/rehearsal.log"; then fail "the rehearsal connected to an app"; fi
[ "$(sql outgrow_rehearsal -c "$due")" = "$was" ] || fail "the rehearsal acted: $was before, now $(sql outgrow_rehearsal -c "$due")"
code=0
"$outgrow" rehearse --from "$work/source" --to "$work/scaled.env" --remove || code=$?
[ $code = 3 ] || fail "--remove beside a running Open WebUI: exit $code"
kill -INT "$app" "$control"
wait "$app" "$control" || true

say "outgrow rehearse --remove"
"$outgrow" rehearse --from "$work/source" --to "$work/scaled.env" --remove
[ "$(sql postgres -c "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate")" = "app postgres" ] || fail "databases are left"
[ "$(sql app -c "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\_%' OR nspname = 'information_schema')")" = 0 ] ||
	fail "the target's database was written to"
[ -z "$(ls -A "$work/share")" ] || fail "the target's folder was written to"
for path in "$work/share-rehearsal"* "$work/rehearsal.env" "$work/scaled.outgrow"; do [ ! -e "$path" ] || fail "$path is left"; done
[ "$(cd "$work/source" && find . -type f -exec sha256sum {} + | sort)" = "$before" ] || fail "the source was changed"
say "passed: nothing acted, nothing is left"
