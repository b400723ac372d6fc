#!/usr/bin/env bash
# A real Chroma server (chromadb 1.5.9) on 127.0.0.1.
#   chroma.sh install          prints its program; makes it where it is missing and OUTGROW_INSTALL=1
#   chroma.sh start DIR [PORT] starts a server with its data in DIR and prints host:port
#   chroma.sh stop DIR         stops it
#   chroma.sh serve DIR [PORT] the same for a test: prints "host:port pid", ends when its input ends
#                              (and removes DIR with OUTGROW_THROWAWAY=1)
# The program lives below OUTGROW_CACHE (default ~/.cache/outgrow); the one that Open WebUI brings along is used too.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=1.5.9
cache=$cache_root

install() {
	local venv=$cache/chroma-$version
	if [ -f "$venv/installed" ]; then
		echo "$venv/bin/chroma"
		return
	fi
	if [ -f "$cache/owui-0.12.4/installed" ] && [ -x "$cache/owui-0.12.4/bin/chroma" ]; then
		echo "$cache/owui-0.12.4/bin/chroma"
		return
	fi
	[ "${OUTGROW_INSTALL:-}" = 1 ] || die "chromadb is not installed: set OUTGROW_INSTALL=1 (about 400 MB)"
	mkdir -p "$cache"
	(
		flock 9
		if [ ! -f "$venv/installed" ]; then
			rm -rf "$venv"
			python3 -m venv "$venv"
			persist "$venv/bin/pip" install --quiet --disable-pip-version-check "chromadb==$version"
			touch "$venv/installed"
		fi
	) 9>"$cache/chroma.lock" >&2
	echo "$venv/bin/chroma"
}

# launch sets pid and address.
launch() {
	local dir=$1 port=${2:-} bin try
	bin=$(install)
	mkdir -p "$dir/data"
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=${2:-$(free_ports 1)}
		"$bin" run --host 127.0.0.1 --port "$port" --path "$dir/data" >>"$dir/log" 2>&1 </dev/null &
		pid=$!
		if listens "http://127.0.0.1:$port/api/v2/heartbeat" "$pid"; then
			address=127.0.0.1:$port
			return
		fi
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	die "the server does not start (try $try): $(tail -n 3 "$dir/log")"
}

case ${1:-} in
install) install ;;
start)
	launch "${2:?a folder is needed}" "${3:-}"
	echo "$pid" >"$2/pid"
	echo "$address"
	;;
stop)
	[ -f "${2:?a folder is needed}/pid" ] || exit 0
	kill "$(cat "$2/pid")" 2>/dev/null || true
	rm -f "$2/pid"
	;;
serve)
	launch "${2:?a folder is needed}" "${3:-}"
	dir=$2
	trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; [ "${OUTGROW_THROWAWAY:-}" != 1 ] || rm -rf "$dir"' EXIT
	trap 'exit 143' TERM HUP INT
	echo "$address $pid"
	cat >/dev/null
	;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
esac
