# make help lists the targets. Everything fetched goes to $OUTGROW_CACHE, by default ~/.cache/outgrow.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export OUTGROW_CACHE ?= $(HOME)/.cache/outgrow
export GOTOOLCHAIN ?= local

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOLANGCI := v2.15.0
LINTER   := $(OUTGROW_CACHE)/golangci-lint-$(GOLANGCI)/golangci-lint
# ./... leaves testdata out, so its packages are named.
PACKAGES := ./... ./testdata/servers
POSTGRES := testdata/servers/postgres.sh

.PHONY: help build dist image test race lint e2e live cutover rehearse matrix storage bench demo shots servers schemas

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/outgrow, static
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/outgrow ./cmd/outgrow

dist: ## archives for Linux and macOS, with checksums, in dist/ (needs goreleaser 2)
	goreleaser release --snapshot --clean

image: ## a container image, outgrow:VERSION (needs docker or podman: DOCKER=podman)
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(or $(DOCKER),docker) build --build-arg VERSION='$(VERSION)' -t 'outgrow:$(VERSION)' .

test: ## run all tests; brings its own PostgreSQL (or uses OUTGROW_TEST_DATABASE_URL, a superuser's)
	testdata/servers/with-postgres.sh go test -timeout 45m $(TESTFLAGS) $(PACKAGES)

race: ## run the tests of the engine under the race detector (needs a C compiler)
	testdata/servers/with-postgres.sh env CGO_ENABLED=1 go test -race -timeout 30m $(TESTFLAGS) ./pipeline/... $(RACEPACKAGES)

lint: $(LINTER) ## formatting, go vet, golangci-lint, file length, skips
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
		[ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	go vet $(PACKAGES)
	$(LINTER) run $(PACKAGES)
	@git ls-files -co --exclude-standard '*.go' ':!*_test.go' | xargs -r wc -l | \
		awk '$$2 != "total" && $$1 > 500 {print "over 500 lines: " $$2 " (" $$1 ")"; bad = 1} END {exit bad}'
	@! git grep -nE '\b(t|tb|b|f)\.Skip' -- '*.go' ':!testdata/servers/skip.go' ':!pipeline/pipetest' ':!testdata/servers/servers_test.go' || { echo 'skip through servers.Skip, with a reason'; exit 1; }

$(LINTER):
	. testdata/servers/lib.sh; GOBIN='$(dir $(LINTER))' GOFLAGS= persist go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)

e2e: build ## Open WebUI itself on the source and on the migrated target, answers compared (7 GB once)
	testdata/e2e/run.sh

live: build ## migrate and sync beside a real Open WebUI that is written to, then stop, sync, verify; LIVEFLAGS='--seeds 20'
	testdata/live/run.sh $(LIVEFLAGS)

cutover: build ## the guided run with a real Open WebUI stopped and started in between; downtime against prediction
	testdata/e2e/cutover.sh

rehearse: build ## Open WebUI itself on a rehearsal: nothing that is due acts, people can look, nothing is left
	testdata/e2e/rehearse.sh

matrix: build ## one corpus between all vector stores, Open WebUI's own clients compare; RING=1: fewer pairs, ONLY=A:B
	testdata/matrix/run.sh $(if $(RING),--ring) $(if $(ONLY),--only $(ONLY)) $(MATRIXFLAGS)

storage: build ## files between all storage providers, read by Open WebUI's own class; ONLY=A:B, STORAGEFLAGS='--files 200 --large 64MiB'
	testdata/storage/run.sh $(if $(ONLY),--only $(ONLY)) $(STORAGEFLAGS)

bench: build ## measure against psql \copy and the memory bounds
	testdata/bench/run.sh

demo: build ## plan, migrate and verify a real data folder (uses DATABASE_URL, else starts a PostgreSQL)
	testdata/servers/demo.sh

shots: build ## pictures of the report in a headless Chromium, to be looked at
	testdata/report/shots.sh

servers: ## start a PostgreSQL with pgvector and say how to start the other real servers
	testdata/servers/servers.sh

schemas: ## make mappings/schema and mappings/shadow/keys.tsv again with the real Open WebUI
	mappings/shadow/generate.sh
	mappings/schema/generate.sh
