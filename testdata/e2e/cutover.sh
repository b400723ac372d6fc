#!/usr/bin/env bash
# The guided run, end to end: a real Open WebUI on SQLite is stopped by outgrow cutover, and started on PostgreSQL by it.
#
#   testdata/e2e/cutover.sh
#
# Four people write until the app is gone (WRITERS=0: nobody does), and
# somebody asks the app for its data ten times a second; the downtime is from the last answer of the old app to the first of
# the new one. Fails unless verify found both sides equal, and the predictions (of outgrow's own part, and of the whole with
# what the old app took to stop and start told as --restart) are within 20 % of what was measured.
#
# GROW=200MB makes the database larger first (default 150MB). KEEP=1 leaves the folder. Uses bin/outgrow or $OUTGROW.
set -euo pipefail

. "$(dirname "$0")/lab.sh" cutover

python=$("$here/openwebui.sh")
read -r embeddings_port port < <("$python" "$here/prepare.py" ports 2)
mkdir "$work/source" "$work/target"
tar -C "$work/source" -xzf "$here/../datadir.tar.gz"
"$python" "$here/prepare.py" config "$work/source" "$embeddings_port"
"$python" "$here/prepare.py" rebase "$work/source"
db=$work/source/webui.db
"$python" "$here/../amplify/amplify.py" "$db" "$db.big" --bytes "${GROW:-150MB}" >/dev/null
rm -f "$db-wal" "$db-shm"
mv "$db.big" "$db"
"$python" "$here/embeddings.py" "$embeddings_port" >"$work/embeddings.log" 2>&1 &
echo $! >"$work/embeddings.pid"

super=$("$here/../servers/postgres.sh" start "$work/pg")
psql=$("$here/../servers/postgres.sh" install)/psql
"$psql" -qX -v ON_ERROR_STOP=1 -d "$super" -c "CREATE ROLE app LOGIN PASSWORD 'e2e-password'" -c "CREATE DATABASE app OWNER app TEMPLATE template0"
"$psql" -qX -v ON_ERROR_STOP=1 -d "${super/\/postgres\?/\/app?}" -c "CREATE EXTENSION vector"
dsn=${super/postgres@/app:e2e-password@}
dsn=${dsn/\/postgres\?/\/app?}
(umask 077; printf '%s\n' "DATABASE_URL=$dsn" VECTOR_DB=pgvector "DATA_DIR=$work/target" WEBUI_SECRET_KEY=lab-secret >"$work/scaled.env")

# start.sh NAME [VARIABLE=VALUE ...] starts Open WebUI on the one port and comes back at once; stop.sh stops it.
cat >"$work/start.sh" <<START
#!/usr/bin/env bash
name=\$1; shift
"$here/serve.sh" "$work/\$name" $port "\$@" >"$work/\$name.log" 2>&1 &
echo \$! >"$work/app.pid"
START
cat >"$work/stop.sh" <<STOP
#!/usr/bin/env bash
pid=\$(cat "$work/app.pid")
kill -INT "\$pid" 2>/dev/null
while kill -0 "\$pid" 2>/dev/null && [ "\$(ps -o stat= -p "\$pid" | cut -c1)" != Z ]; do sleep 0.1; done
true
STOP
chmod +x "$work/start.sh" "$work/stop.sh"

say "starting the old Open WebUI, stopping and starting it: how long that takes"
for turn in cold warm; do
	began=$(date +%s.%N)
	[ "$turn" = cold ] || "$work/stop.sh"
	"$work/start.sh" old "DATA_DIR=$work/source"
	"$python" "$here/prepare.py" wait "http://127.0.0.1:$port" "$(cat "$work/app.pid")"
	restart=$("$python" -c "import time; print(f'{time.time() - $began:.1f}s')")
done
say "$restart from the stop to the answer"

"$python" - "$port" "$work/answers" <<'ASK' &
import sys, time, urllib.request
url, out = f"http://127.0.0.1:{sys.argv[1]}/api/config", open(sys.argv[2], "w", buffering=1)
while True:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
        out.write(f"{time.time()}\n")
    except OSError:
        pass
    time.sleep(0.1)
ASK
echo $! >"$work/asking.pid"
if [ "${WRITERS:-1}" = 1 ]; then
	"$python" "$here/../live/writer.py" "http://127.0.0.1:$port" "$work/source" >"$work/writer.log" 2>&1 &
	echo $! >"$work/writer.pid"
fi

"$outgrow" cutover --from "$work/source" --to "$work/scaled.env" --yes --accept orphan --restart "$restart" --drain 5s --health "http://127.0.0.1:$port/health" \
	--stop-cmd "$work/stop.sh" --start-cmd "$work/start.sh new DATA_DIR='$work/target' DATABASE_URL='$dsn' VECTOR_DB=pgvector" --env-out "$work/start.env"
"$outgrow" watch --from "$work/source" --to "$work/scaled.env" --once
sleep 2
[ ! -f "$work/writer.log" ] || cat "$work/writer.log"

"$python" - "$work/answers" "$work/scaled.outgrow/report.json" <<'JUDGE'
import json, sys
times = [float(line) for line in open(sys.argv[1])]
real, at = max((b - a, a) for a, b in zip(times, times[1:]))
c = json.load(open(sys.argv[2]))["cutover"]
w, bad = c["window"], False
print(f"answers: none for {real:.1f} s; outgrow measured {c['downtime_seconds']:.1f} s, of which its own part {c['own_seconds']:.1f} s")
for what, is_, was in (("own part", c["own_seconds"], w["own_seconds"]), ("whole", c["downtime_seconds"], w["total_seconds"]), ("last to first answer", real, w["total_seconds"])):
    off = is_ / was - 1
    bad |= abs(off) > 0.2
    print(f"{what}: predicted {was:.1f} s, measured {is_:.1f} s ({off:+.0%})")
for s in c["steps"]:
    print(f"  {s['step']}: {s['seconds']:.1f} s" + (f", predicted {s['predicted_seconds']:.1f} s" if "predicted_seconds" in s else ""))
sys.exit("a prediction is off by more than 20 %" if bad else 0)
JUDGE
say "passed"
