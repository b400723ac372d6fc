#!/usr/bin/env bash
# A real Milvus for tests, on 127.0.0.1 only, without anything installed by hand.
#
#   milvus.sh install [KIND]     makes the venv of that kind, once
#   milvus.sh start DIR [KIND]   starts a server with its data in DIR and prints its address; again on the same port
#                                where DIR has been used before
#   milvus.sh stop DIR           stops it (the data stay)
#   milvus.sh hold DIR [KIND]    start, then wait for the end of standard input, then stop (the data stay)
#   milvus.sh serve DIR [KIND]   the same, and remove DIR
#
# KIND: real   Milvus 2.3.5 itself (PyPI milvus), in a network namespace of its own because it listens everywhere
#       lite   Milvus Lite 3.2.2 in server mode (PyPI milvus-lite); Open WebUI takes it for a server before 2.5
#       bm25   the same, reporting version 2.6.0: Open WebUI then lays its collections out as for 2.5 and later
#
# A venv is made only when OUTGROW_INSTALL=1 or by "install"; it is kept in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

here=$(cd "$(dirname "$0")" && pwd)
cache=$cache_root

package() {
	case $1 in
	real) echo milvus==2.3.5 ;;
	lite | bm25) echo milvus-lite==3.2.2 pymilvus==2.6.14 ;;
	*) die "unknown kind $1" ;;
	esac
}

# venv prints the folder of the kind's venv, made where it is missing and may be made.
venv() {
	local want dir python
	want=$(package "$1")
	dir=${want%% *}
	dir=$cache/${dir/==/-}
	if [ ! -f "$dir/installed" ]; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] || die "$want is not installed: OUTGROW_INSTALL=1 has it fetched"
		mkdir -p "$cache"
		(
			flock 9
			[ ! -f "$dir/installed" ] || exit 0
			rm -rf "$dir"
			echo "fetching $want" >&2
			python=$cache/owui-0.12.4/bin/python
			[ -x "$python" ] || python=python3
			if [ -x "$cache/uv/bin/uv" ]; then
				"$cache/uv/bin/uv" venv --quiet --python "$python" "$dir" >&2
				persist "$cache/uv/bin/uv" pip install --quiet --python "$dir/bin/python" $want >&2
			else
				"$python" -m venv "$dir" >&2
				persist "$dir/bin/python" -m pip install --quiet --disable-pip-version-check $want >&2
			fi
			touch "$dir/installed"
		) 9>"$dir.lock"
	fi
	echo "$dir"
}

start() {
	local dir kind python port
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	kind=${2:-$(cat "$dir/kind" 2>/dev/null || echo real)}
	python=$(venv "$kind")/bin/python
	port=$(cat "$dir/port" 2>/dev/null || free_ports 1)
	echo "$kind" >"$dir/kind"
	echo "$port" >"$dir/port"
	case $kind in
	real) set -- "$here/milvus_server.py" "$dir/data" "$port" ;;
	lite) set -- -m milvus_lite.cmdline server --data-dir "$dir/data" --host 127.0.0.1 --port "$port" ;;
	bm25) set -- "$here/milvus_lite_bm25_server.py" "$dir/data" "$port" ;;
	esac
	setsid "$python" "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
	echo $! >"$dir/pid"
	listens "$port" "$(cat "$dir/pid")" || die "the server does not start: $(tail -n 3 "$dir/log")"
	echo "http://127.0.0.1:$port"
}

case ${1:-} in
install) OUTGROW_INSTALL=1 venv "${2:-real}" ;;
start) start "${2:?a folder is needed}" "${3:-}" ;;
stop) stop "${2:?a folder is needed}" ;;
hold | serve)
	scratch=${2:?a folder is needed}
	trap 'stop "$scratch" || true; [ "$1" = hold ] || rm -rf "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	start "$scratch" "${3:-real}"
	cat >/dev/null
	;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
esac
