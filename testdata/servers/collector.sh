#!/usr/bin/env bash
# A real OpenTelemetry collector for tests, on 127.0.0.1 only. It takes traces and metrics; it has no pipeline for logs.
#
#   collector.sh install          prints the path of the program; builds it where it is missing and OUTGROW_INSTALL=1
#   collector.sh start DIR        starts it and prints "GRPCPORT HTTPPORT PID"; what it took is in DIR/log
#   collector.sh stop DIR         stops the collector of DIR
#   collector.sh hold DIR         start, then wait for the end of standard input, then stop
#   collector.sh serve DIR        the same, and remove DIR at the end
#
# The program is OUTGROW_TEST_OTELCOL_BIN, or lives in ${OUTGROW_CACHE:-$HOME/.cache/outgrow}.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

builder=v0.164.0
components=v0.161.0
providers=v1.67.0
cache=$cache_root/otelcol-$components

install() {
	if [ -n "${OUTGROW_TEST_OTELCOL_BIN:-}" ]; then
		[ -x "$OUTGROW_TEST_OTELCOL_BIN" ] || die "OUTGROW_TEST_OTELCOL_BIN names no program"
		echo "$OUTGROW_TEST_OTELCOL_BIN"
		return
	fi
	if [ ! -x "$cache/otelcol" ]; then
		[ "${OUTGROW_INSTALL:-}" = 1 ] || die "the collector is not installed: OUTGROW_INSTALL=1 has it built (about 34 MB)"
		command -v go >/dev/null || die "building the collector needs go, which is not here"
		mkdir -p "$cache_root"
		(
			flock 9
			[ ! -x "$cache/otelcol" ] || exit 0
			rm -rf "$cache.new"
			mkdir -p "$cache.new"
			cd "$cache.new"
			export GOFLAGS='' GOWORK=off
			GOBIN=$cache.new persist go install "go.opentelemetry.io/collector/cmd/builder@$builder" >&2
			cat >build.yaml <<-YAML
				dist: {name: otelcol, output_path: $cache.new/source}
				receivers:
				  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver $components
				exporters:
				  - gomod: go.opentelemetry.io/collector/exporter/debugexporter $components
				providers:
				  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider $providers
				  - gomod: go.opentelemetry.io/collector/confmap/provider/yamlprovider $providers
				  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider $providers
			YAML
			persist ./builder --skip-strict-versioning --config build.yaml >&2
			mv source/otelcol otelcol
			rm -rf source builder
			rm -rf "$cache"
			mv "$cache.new" "$cache"
		) 9>"$cache.lock"
	fi
	echo "$cache/otelcol"
}

start() {
	local dir bin grpc http pid
	mkdir -p "$1"
	dir=$(cd "$1" && pwd -P)
	bin=$(install)
	read -r grpc http <<<"$(free_ports 2)"
	cat >"$dir/config.yaml" <<-YAML
		receivers:
		  otlp:
		    protocols:
		      grpc: {endpoint: "127.0.0.1:$grpc"}
		      http: {endpoint: "127.0.0.1:$http"}
		exporters:
		  debug: {verbosity: detailed}
		service:
		  telemetry: {metrics: {level: none}}
		  pipelines:
		    traces: {receivers: [otlp], exporters: [debug]}
		    metrics: {receivers: [otlp], exporters: [debug]}
	YAML
	nohup "$bin" --config "$dir/config.yaml" >>"$dir/log" 2>&1 </dev/null 9>&- &
	pid=$!
	echo "$pid" >"$dir/pid"
	listens "$grpc" "$pid" && listens "$http" "$pid" || die "the collector does not start: $(tail -n 3 "$dir/log")"
	echo "$grpc $http $pid"
}

command_of "$@"
