# What the starters of servers in this folder share. To be sourced by one that defines install, which prints the program,
# and start DIR, which starts a server in the background, writes its process id to DIR/pid and prints what the server is
# reached by; its head tells the commands.

cache_root=${OUTGROW_CACHE:-$HOME/.cache/outgrow}

die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# persist COMMAND ...: runs what fetches; in CI and where everything is to be installed up to five times, as a registry is
# busy now and then.
persist() {
	local pause pauses=
	[ -z "${CI:-}${OUTGROW_INSTALL:-}" ] || pauses='5 15 30 60'
	for pause in $pauses; do
		"$@" && return
		echo "$(basename "$0"): $1 failed; again in $pause s" >&2
		sleep $pause
	done
	"$@"
}

# free_ports N: prints that many; see free_ports.py.
free_ports() {
	python3 "$(dirname "${BASH_SOURCE[0]}")/free_ports.py" "$1"
}

# listens WHERE PID: until something listens at a port, or answers at a URL, as long as the server lives.
listens() {
	python3 -c '
import os, socket, sys, time, urllib.request
where = sys.argv[1]
end = time.monotonic() + 300
while time.monotonic() < end:
    try: os.kill(int(sys.argv[2]), 0)
    except OSError: break
    try:
        if where.isdigit(): socket.create_connection(("127.0.0.1", int(where)), 5).close()
        else: urllib.request.urlopen(where, timeout=5).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)' "$1" "$2"
}

# at_port DIR PATH COMMAND ...: starts COMMAND, in which {port} stands for a port, and prints "http://127.0.0.1:{port}PATH PID".
# The port is the one of DIR/port where the server has been started there before.
at_port() {
	local dir=$1 path=$2 port pid try
	shift 2
	for try in 1 2 3; do # the port may be taken between the choice and the start
		port=$(cat "$dir/port" 2>/dev/null || free_ports 1)
		nohup "${@//\{port\}/$port}" >>"$dir/log" 2>&1 </dev/null 9>&- &
		pid=$!
		echo "$pid" >"$dir/pid"
		if listens "$port" "$pid"; then
			echo "$port" >"$dir/port"
			echo "http://127.0.0.1:$port$path $pid"
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
	for _ in $(seq 900); do # what it knows it saves
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

# command_of NAME [DIR]: one of install, start, stop, hold and serve.
command_of() {
	case ${1:-} in
	install) install ;;
	start) start "${2:?a folder is needed}" ;;
	stop) stop "${2:?a folder is needed}" ;;
	hold | serve)
		how=$1 dir=${2:?a folder is needed}
		trap 'stop "$dir" || true; [ "$how" = hold ] || rm -rf "$dir"' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		start "$dir"
		cat >/dev/null
		;;
	*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 2 ;;
	esac
}
