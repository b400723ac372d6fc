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
. "$(dirname "$0")/lib.sh"

version=v1.8.0
cache=$cache_root/versitygw-$version

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
			GOFLAGS='' GOWORK=off GOBIN=$cache.new persist go install "github.com/versity/versitygw/cmd/versitygw@$version" >&2
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

start() {
	local dir bin
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	attributes "$dir"
	mkdir -p "$dir/data"
	export ROOT_ACCESS_KEY=${ROOT_ACCESS_KEY:-testkey} ROOT_SECRET_KEY=${ROOT_SECRET_KEY:-testsecret123}
	at_port "$dir" "" "$bin" --quiet --port 127.0.0.1:{port} --region us-east-1 posix "$dir/data"
}

command_of "$@"
