# What the scripts beside it begin with: source it as: . lab.sh NAME. It wants bin/outgrow or $OUTGROW, and gives
#
#   here, repo, outgrow   this folder, the repository, the program
#   work                  a temporary folder, which KEEP=1 leaves
#   pids                  processes that are ended with the script, as those of $work/*.pid are; and the PostgreSQL of $work/pg
#   say, fail             a line with the seconds that have passed
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
outgrow=${OUTGROW:-$repo/bin/outgrow}
[ -x "$outgrow" ] || { echo "$outgrow is not there: make build" >&2; exit 2; }

lab=$1 pids=()
work=$(mktemp -d "${TMPDIR:-/tmp}/outgrow-$lab.XXXXXX")
chmod 755 "$work"
export PYTHONDONTWRITEBYTECODE=1
finish() {
	local code=$? pid file
	for file in "$work"/*.pid; do [ ! -f "$file" ] || pids+=("$(cat "$file")"); done
	for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
	[ ! -d "$work/pg" ] || "$here/../servers/postgres.sh" stop "$work/pg" || true
	wait
	if [ "${KEEP:-}" = 1 ]; then echo "kept: $work"; else rm -rf "$work"; fi
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say() { printf '%s %4d s  %s\n' "$lab" "$SECONDS" "$*"; }
fail() { say "FAILED: $*"; exit 1; }
