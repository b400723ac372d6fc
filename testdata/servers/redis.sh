#!/usr/bin/env bash
# Real Redis servers for tests, on the loopback only: one, a master with three sentinels, or a cluster of three nodes.
#
#   redis.sh install          prints the path of the program; installs it where it is missing and OUTGROW_INSTALL=1
#   redis.sh start DIR        starts the servers with their data in DIR and prints "PORT ... PID", the PID of the first
#   redis.sh stop DIR         stops the servers of DIR (the data stay)
#   redis.sh hold DIR         start, then wait for the end of standard input, then stop
#   redis.sh serve DIR        the same, and remove DIR at the end
#
# Settings: REDIS_KIND=single (PORT), sentinel (PORT of the sentinels on 127.0.0.1, .2 and .3, who know MyMaster; PORT of
# the master) or cluster (PORT PORT PORT); REDIS_PASSWORD is that of all but the sentinels. The program is Debian's package
# redis-server (7.0).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

install() {
	if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
			die "redis-server is not installed: OUTGROW_INSTALL=1 has root install it (Debian)"
		persist apt-get update -qq >&2
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 persist apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends redis-server >&2
		service redis-server stop >/dev/null 2>&1 || true
	fi
	command -v redis-server
}

# launch FOLDER PORT HOST ARGUMENT ...: starts a server with the configuration on standard input.
launch() {
	local dir=$1 port=$2 host=$3
	shift 3
	mkdir -p "$dir"
	{
		printf 'bind %s\nport %s\ndir %s\ndaemonize no\n' "$host" "$port" "$dir"
		cat
	} >"$dir/redis.conf"
	nohup redis-server "$dir/redis.conf" "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
	echo $! >"$dir/pid"
	listens "$port" "$(cat "$dir/pid")" || die "the server does not start: $(tail -n 3 "$dir/log")"
}

password() {
	[ -z "${REDIS_PASSWORD:-}" ] || printf 'requirepass %s\nmasterauth %s\n' "$REDIS_PASSWORD" "$REDIS_PASSWORD"
	printf 'save ""\n'
}

# until_says TEXT COMMAND ...: for three minutes at most.
until_says() {
	local text=$1
	shift
	for _ in $(seq 900); do
		"$@" 2>&1 | grep -q "$text" && return
		sleep 0.2
	done
	die "this does not come to \"$text\": $*"
}

single() {
	local port
	port=$(cat "$1/port" 2>/dev/null || free_ports 1)
	echo "$port" >"$1/port"
	password | launch "$1/0" "$port" 127.0.0.1
	echo "$port $(cat "$1/0/pid")"
}

sentinel() {
	local port master host i=0
	read -r master port <<<"$(free_ports 2)"
	password | launch "$1/0" "$master" 127.0.0.1
	for host in 127.0.0.1 127.0.0.2 127.0.0.3; do
		i=$((i + 1))
		{
			printf 'sentinel monitor MyMaster 127.0.0.1 %s 2\nsentinel announce-ip %s\n' "$master" "$host"
			printf 'sentinel down-after-milliseconds MyMaster 120000\n'
			[ -z "${REDIS_PASSWORD:-}" ] || printf 'sentinel auth-pass MyMaster %s\n' "$REDIS_PASSWORD"
		} | launch "$1/$i" "$port" "$host" --sentinel
	done
	for host in 127.0.0.1 127.0.0.2 127.0.0.3; do
		until_says '^OK 3 usable' redis-cli -h "$host" -p "$port" SENTINEL CKQUORUM MyMaster
	done
	echo "$port $master $(cat "$1/0/pid")"
}

cluster() {
	local ports port i=0
	read -r -a ports <<<"$(free_ports 3)"
	for port in "${ports[@]}"; do
		{
			password
			printf 'cluster-enabled yes\ncluster-config-file nodes.conf\n'
		} | launch "$1/$i" "$port" 127.0.0.1
		i=$((i + 1))
	done
	# An empty REDISCLI_AUTH would be sent, and refused.
	[ -z "${REDIS_PASSWORD:-}" ] || export REDISCLI_AUTH=$REDIS_PASSWORD
	redis-cli --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-replicas 0 --cluster-yes >>"$1/log" 2>&1 ||
		die "the cluster is not made: $(tail -n 3 "$1/log")"
	for port in "${ports[@]}"; do
		until_says 'cluster_state:ok' redis-cli -p "$port" CLUSTER INFO
	done
	echo "${ports[*]} $(cat "$1/0/pid")"
}

start() {
	local dir
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	install >/dev/null
	case ${REDIS_KIND:-single} in
	single | sentinel | cluster) "${REDIS_KIND:-single}" "$dir" ;;
	*) die "REDIS_KIND is single, sentinel or cluster" ;;
	esac
}

# One server after the other, by what lib.sh calls for one.
eval "stop_one() $(declare -f stop | tail -n +2)"
stop() {
	local one
	for one in "$1"/[0-9]; do
		[ ! -d "$one" ] || stop_one "$one"
	done
}

command_of "$@"
