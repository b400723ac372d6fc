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
. "$(dirname "$0")/lib.sh"

version=1.56.1
cache=$cache_root/fake-gcs-server-v$version

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
			GOBIN=$cache/new GOWORK=off persist go install "github.com/fsouza/fake-gcs-server@v$version" >&2
			mv "$cache/new/fake-gcs-server" "$cache/fake-gcs-server"
			rmdir "$cache/new"
		) 9>"$cache.lock"
	fi
	echo "$cache/fake-gcs-server"
}

start() {
	local dir bin
	mkdir -p "$1/data"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	at_port "$dir" "" "$bin" -scheme http -host 127.0.0.1 -port {port} -public-host 127.0.0.1:{port} \
		-external-url http://127.0.0.1:{port} -backend filesystem -filesystem-root "$dir/data" -log-level error
}

command_of "$@"
