#!/usr/bin/env bash
# A real Azurite (the Azure Blob emulator, blob service only) for tests, on 127.0.0.1 only.
#
#   azure.sh install           prints the path of the program; makes it where it is missing and OUTGROW_INSTALL=1
#   azure.sh start DIR         starts it with its data in DIR and prints "ENDPOINT PID"; again on the same port where
#                              DIR has been used before
#   azure.sh stop DIR          stops the server of DIR (the data stay)
#   azure.sh hold DIR          start, then wait for the end of standard input, then stop
#   azure.sh serve DIR         the same, and remove DIR at the end
#
# ENDPOINT is what AZURE_STORAGE_ENDPOINT takes, http://127.0.0.1:PORT/devstoreaccount1; the key is the one that
# Azurite's documentation gives to everybody. It needs node and lives in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}.
set -euo pipefail

version=3.35.0
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}/azurite-$version

die() {
	echo "azure.sh: $*" >&2
	exit 1
}

install() {
	command -v node >/dev/null || die "Azurite needs node, which is not here"
	if [ ! -f "$cache/installed" ]; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] || die "azurite is not installed: OUTGROW_INSTALL=1 has it fetched (about 190 MB)"
		command -v npm >/dev/null || die "installing Azurite needs npm, which is not here"
		mkdir -p "$(dirname "$cache")"
		(
			flock 9
			[ ! -f "$cache/installed" ] || exit 0
			rm -rf "$cache"
			mkdir -p "$cache"
			npm install --prefix "$cache" --no-audit --no-fund --no-update-notifier --loglevel error "azurite@$version" >&2
			touch "$cache/installed"
		) 9>"$cache.lock"
	fi
	echo "$cache/node_modules/.bin/azurite-blob"
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
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=$(cat "$dir/port" 2>/dev/null || free_port)
		nohup node "$bin" --silent --blobHost 127.0.0.1 --blobPort "$port" --location "$dir/data" \
			--skipApiVersionCheck --disableTelemetry >>"$dir/log" 2>&1 </dev/null 9>&- &
		pid=$!
		echo "$pid" >"$dir/pid"
		if listens "$port" "$pid"; then
			echo "$port" >"$dir/port"
			echo "http://127.0.0.1:$port/devstoreaccount1 $pid"
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
