#!/usr/bin/env bash
# A real fake-gcs-server (an emulator of Google Cloud Storage) for tests, on 127.0.0.1 only.
#
#   gcs.sh install           prints the path of the program; makes it where it is missing and OUTGROW_INSTALL=1
#   gcs.sh start DIR         starts it with its data in DIR and prints "ENDPOINT PID"; again on the same port where DIR
#                            has been used before
#   gcs.sh stop DIR          stops the server of DIR (the data stay)
#   gcs.sh hold DIR          start, then wait for the end of standard input, then stop
#   gcs.sh serve DIR         the same, and remove DIR at the end
#
# ENDPOINT is what STORAGE_EMULATOR_HOST takes, http://127.0.0.1:PORT; there are no credentials. The emulator keeps
# unfinished uploads in its memory: they are gone after a stop. It is built with Go and lives in
# ${OUTGROW_CACHE:-$HOME/.cache/outgrow}.
set -euo pipefail

version=1.56.1
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}/fake-gcs-server-v$version

die() {
	echo "gcs.sh: $*" >&2
	exit 1
}

install() {
	if [ ! -x "$cache/fake-gcs-server" ]; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] || die "fake-gcs-server is not installed: OUTGROW_INSTALL=1 has it fetched and built (50 MB)"
		command -v go >/dev/null || die "building fake-gcs-server needs go, which is not here"
		mkdir -p "$cache"
		(
			flock 9
			[ ! -x "$cache/fake-gcs-server" ] || exit 0
			cd / # not in a module: its pins are not those of the emulator
			rm -rf "$cache/new"
			GOBIN=$cache/new GOWORK=off go install "github.com/fsouza/fake-gcs-server@v$version" >&2
			mv "$cache/new/fake-gcs-server" "$cache/fake-gcs-server"
			rmdir "$cache/new"
		) 9>"$cache.lock"
	fi
	echo "$cache/fake-gcs-server"
}

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# listens PORT PID: until something listens there, as long as the server lives.
listens() {
	python3 -c '
import os, socket, sys, time
for _ in range(600):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        sys.exit(0)
    except OSError:
        try: os.kill(int(sys.argv[2]), 0)
        except OSError: break
        time.sleep(0.1)
sys.exit(1)' "$1" "$2"
}

start() {
	local dir bin port pid try
	mkdir -p "$1/data"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=$(cat "$dir/port" 2>/dev/null || free_port)
		nohup "$bin" -scheme http -host 127.0.0.1 -port "$port" -public-host "127.0.0.1:$port" \
			-external-url "http://127.0.0.1:$port" -backend filesystem -filesystem-root "$dir/data" -log-level error \
			>>"$dir/log" 2>&1 </dev/null 9>&- &
		pid=$!
		echo "$pid" >"$dir/pid"
		if listens "$port" "$pid"; then
			echo "$port" >"$dir/port"
			echo "http://127.0.0.1:$port $pid"
			return
		fi
	done
	die "the server does not start (try $try): $(tail -n 3 "$dir/log")"
}

stop() {
	local pid
	[ -f "$1/pid" ] || return 0
	pid=$(cat "$1/pid")
	rm -f "$1/pid"
	kill "$pid" 2>/dev/null || return 0
	for _ in $(seq 100); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

case ${1:-} in
install) install ;;
start) start "${2:?a folder is needed}" ;;
stop) stop "${2:?a folder is needed}" ;;
hold | serve)
	dir=${2:?a folder is needed}
	trap 'stop "$dir" || true; [ "$1" = hold ] || rm -rf "$dir"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	start "$dir"
	cat >/dev/null
	;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
esac
