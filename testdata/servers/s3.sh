#!/usr/bin/env bash
# A real S3 server (versitygw over a folder) for tests and the demo, on 127.0.0.1 only.
#
#   s3.sh install          prints the path of the program; makes it where it is missing and OUTGROW_INSTALL=1
#   s3.sh start DIR        starts it with its data in DIR and prints "ENDPOINT PID"; again on the same port where
#                          DIR has been used before
#   s3.sh stop DIR         stops the server of DIR (the data stay)
#   s3.sh hold DIR         start, then wait for the end of standard input, then stop
#   s3.sh serve DIR        the same, and remove DIR at the end
#
# ENDPOINT is what S3_ENDPOINT_URL takes; buckets are the folders of DIR/data. The root's keys are ROOT_ACCESS_KEY and
# ROOT_SECRET_KEY, testkey and testsecret123 where they are not set. The program is OUTGROW_TEST_VERSITYGW_BIN, or
# lives in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}. The file system of DIR must have user extended attributes.
set -euo pipefail

version=v1.8.0
cache=${OUTGROW_CACHE:-$HOME/.cache/outgrow}/versitygw-$version

die() {
	echo "s3.sh: $*" >&2
	exit 1
}

install() {
	if [ -n "${OUTGROW_TEST_VERSITYGW_BIN:-}" ]; then
		[ -x "$OUTGROW_TEST_VERSITYGW_BIN" ] || die "OUTGROW_TEST_VERSITYGW_BIN names no program"
		echo "$OUTGROW_TEST_VERSITYGW_BIN"
		return
	fi
	if [ ! -x "$cache/versitygw" ]; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] || die "versitygw is not installed: OUTGROW_INSTALL=1 has it built (about 85 MB)"
		command -v go >/dev/null || die "building versitygw needs go, which is not here"
		mkdir -p "$(dirname "$cache")"
		(
			flock 9
			[ ! -x "$cache/versitygw" ] || exit 0
			rm -rf "$cache.new"
			mkdir -p "$cache.new"
			cd "$cache.new"
			GOFLAGS='' GOWORK=off GOBIN=$cache.new go install "github.com/versity/versitygw/cmd/versitygw@$version" >&2
			rm -rf "$cache"
			mv "$cache.new" "$cache"
		) 9>"$cache.lock"
	fi
	echo "$cache/versitygw"
}

# attributes DIR: whether its file system has user extended attributes, which hold what S3 knows of an object.
attributes() {
	python3 -c '
import os, sys, tempfile
with tempfile.NamedTemporaryFile(dir=sys.argv[1]) as f:
    os.setxattr(f.name, "user.outgrow", b"1")' "$1" 2>/dev/null ||
		die "the file system of $1 has no user extended attributes, which versitygw needs: set TMPDIR to one that has"
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
	attributes "$dir"
	mkdir -p "$dir/data"
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=$(cat "$dir/port" 2>/dev/null || free_port)
		ROOT_ACCESS_KEY=${ROOT_ACCESS_KEY:-testkey} ROOT_SECRET_KEY=${ROOT_SECRET_KEY:-testsecret123} \
			nohup "$bin" --quiet --port "127.0.0.1:$port" --region us-east-1 posix "$dir/data" \
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
