#!/usr/bin/env bash
# A real Qdrant for tests and the demo, on 127.0.0.1 only, with free ports and its data in a folder.
#
#   qdrant.sh install          prints the path of the program
#   qdrant.sh start DIR        starts it with its data in DIR and prints "URI GRPCPORT PID"
#   qdrant.sh stop DIR         stops the server of DIR (the data stay)
#   qdrant.sh hold DIR         start, then wait for the end of standard input, then stop
#   qdrant.sh serve DIR        the same, and remove DIR at the end
#
# Qdrant publishes no package for every distribution, so the program is taken from, in this order:
#   OUTGROW_TEST_QDRANT_BIN    the program itself
#   ${OUTGROW_CACHE:-$HOME/.cache/outgrow}/qdrant-1.18.3/qdrant
#   $OUTGROW_SHARED/servers/qdrant.xz, which is unpacked there
# Settings: QDRANT_PORTS="HTTP GRPC" asks for these ports; QDRANT__* variables reach the server as they are.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cache=$cache_root/qdrant-1.18.3

install() {
	if [ -n "${OUTGROW_TEST_QDRANT_BIN:-}" ]; then
		[ -x "$OUTGROW_TEST_QDRANT_BIN" ] || die "OUTGROW_TEST_QDRANT_BIN names no program"
		echo "$OUTGROW_TEST_QDRANT_BIN"
		return
	fi
	local packed=${OUTGROW_SHARED:+$OUTGROW_SHARED/servers/qdrant.xz}
	if [ ! -x "$cache/qdrant" ]; then
		[ -f "${packed:-/nonexistent}" ] || die "no Qdrant here: OUTGROW_TEST_QDRANT_BIN names its program"
		mkdir -p "$cache"
		(
			flock 9
			[ -x "$cache/qdrant" ] && exit 0
			xz -dc "$packed" >"$cache/new"
			chmod +x "$cache/new"
			mv "$cache/new" "$cache/qdrant"
		) 9>"$cache/lock"
	fi
	echo "$cache/qdrant"
}

start() {
	local dir bin http grpc pid try
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	for try in 1 2 3; do # the ports may be taken between the choice and the start
		read -r http grpc <<<"${QDRANT_PORTS:-$(free_ports 2)}"
		(
			cd "$dir"
			QDRANT__SERVICE__HOST=127.0.0.1 QDRANT__SERVICE__HTTP_PORT=$http QDRANT__SERVICE__GRPC_PORT=$grpc \
				QDRANT__TELEMETRY_DISABLED=true QDRANT__STORAGE__STORAGE_PATH=$dir/storage \
				QDRANT__STORAGE__SNAPSHOTS_PATH=$dir/snapshots \
				nohup "$bin" >>"$dir/log" 2>&1 </dev/null 9>&- &
			echo $! >"$dir/pid"
		)
		pid=$(cat "$dir/pid")
		if listens "$grpc" "$pid"; then
			echo "http://127.0.0.1:$http $grpc $pid"
			return
		fi
	done
	die "the server does not start (try $try): $(tail -n 3 "$dir/log")"
}

command_of "$@"
