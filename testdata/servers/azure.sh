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
. "$(dirname "$0")/lib.sh"

version=3.35.0
cache=$cache_root/azurite-$version

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
			persist npm install --prefix "$cache" --no-audit --no-fund --no-update-notifier --loglevel error "azurite@$version" >&2
			touch "$cache/installed"
		) 9>"$cache.lock"
	fi
	echo "$cache/node_modules/.bin/azurite-blob"
}

start() {
	local dir bin
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	at_port "$dir" /devstoreaccount1 node "$bin" --silent --blobHost 127.0.0.1 --blobPort {port} --location "$dir/data" \
		--skipApiVersionCheck --disableTelemetry
}

command_of "$@"
