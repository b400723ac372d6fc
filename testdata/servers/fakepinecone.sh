#!/usr/bin/env bash
# Starts and stops the fake of Pinecone (testdata/servers/fakepinecone), as the real service cannot be had.
#
#   fakepinecone.sh start DIR     prints the address of the control plane, for PINECONE_CONTROLLER_HOST
#   fakepinecone.sh stop DIR
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
dir=${2:?a folder is needed}
case ${1:-} in
start)
	mkdir -p "$dir"
	(cd "$repo" && go build -o "$dir/fakepinecone" ./testdata/servers/fakepinecone/serve)
	: >"$dir/address"
	# It runs until its input ends: sleep holds that open.
	sleep infinity | "$dir/fakepinecone" >"$dir/address" 2>"$dir/log" &
	jobs -p >"$dir/pid.sleep"
	echo $! >"$dir/pid"
	for _ in $(seq 1200); do
		[ -s "$dir/address" ] && break
		sleep 0.1
	done
	[ -s "$dir/address" ] || { cat "$dir/log" >&2 && exit 1; }
	cat "$dir/address"
	;;
stop)
	for f in "$dir/pid" "$dir/pid.sleep"; do
		[ ! -f "$f" ] || kill "$(cat "$f")" 2>/dev/null || true
		rm -f "$f"
	done
	;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
esac
