# Sluice. `make` builds bin/sluice; `make run` tries it out; `make test` and `make check` are what CI calls.
GO ?= go
FUZZTIME ?= 10s
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
GOFUMPT := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
export GOTOOLCHAIN := local
# The version is given to the linker; asking git about a clone that somebody else owns would fail the build.
export GOFLAGS += -buildvcs=false

build: ## bin/sluice, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/sluice ./cmd/sluice

run: build ## build it and try it out: prints a link for Telegram
	bin/sluice run

test: build ## unit and end-to-end tests; needs Go and make, and a C compiler for the race detector
	@if [ -n "$$($(GO) env CC)" ] && command -v $$($(GO) env CC) >/dev/null; then \
		echo '$(GO) test -race -count=1 ./...'; CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 25m ./...; \
	else \
		echo 'no C compiler: the tests run without the race detector'; $(GO) test -count=1 -timeout 25m ./...; \
	fi

check: build fmt-check vet staticcheck fuzz interop ## everything else CI does; interop needs what .ci/run installs

fmt: ## format the sources
	$(GO) run $(GOFUMPT) -l -w .

fmt-check:
	@found=$$($(GO) run $(GOFUMPT) -l .) || exit 1; \
	if [ -n "$$found" ]; then echo "not formatted, make fmt does it:"; echo "$$found"; exit 1; fi; echo 'gofumpt: all formatted'

vet:
	$(GO) vet ./...
	cd bench/interop && $(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...
	cd bench/interop && $(GO) run $(STATICCHECK) ./...

fuzz: ## each fuzz target for FUZZTIME
	GO='$(GO)' .ci/fuzz $(FUZZTIME)

interop: build ## real clients and real load balancers against bin/sluice
	cd bench/interop && SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -count=1 -timeout 15m ./...

demo: build ## client, proxy, data centre and web site on this machine, in a dozen lines
	$(GO) run ./bench/demo -sluice bin/sluice

docs: ## rewrite the generated pages
	$(GO) test ./bench/sandbox -run TestWritten -count=1 -update
	$(GO) test ./engine/config -run TestGeneratedFiles -count=1 -update
	$(GO) generate ./engine/metric

clean:
	rm -rf bin

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

.DEFAULT_GOAL := build
.PHONY: build run test check fmt fmt-check vet staticcheck fuzz interop demo docs clean help

# Figures: `make bench` measures (see go run ./bench/run -h; BENCH takes its flags), `make bench-quick` only checks that every byte is right.
BENCH ?= -json bin/bench.json -table bin/bench.md
SCENARIO ?= download-8

bench: build ## the proxy beside a bare relay and a usual one: a table, in about 40 minutes; BENCH='-scenarios goals' takes 12
	$(GO) run ./bench/run -sluice bin/sluice $(BENCH)

bench-quick: build ## every scenario, small, every byte checked: under two minutes
	$(GO) run ./bench/run -sluice bin/sluice -quick

profile: ## CPU and heap profile and system calls of the proxy under SCENARIO, into bin/profile
	$(GO) run ./bench/run -profile bin/profile -scenarios $(SCENARIO)

.PHONY: bench bench-quick profile

# TORTURE takes flags of go run ./bench/torture, as -only emfile,enfile-pipe or -long; SOAK those of go run ./bench/soak.
SOAK ?= -time 10m -out bin/soak

torture: build ## breaks what the proxy lives on, under load: six minutes; needs root, iproute2, nftables
	$(GO) run ./bench/torture -sluice bin/sluice $(TORTURE)

soak: build ## ten minutes of clients that come and go, with a fault every now and then; charts in bin/soak
	$(GO) run ./bench/soak -sluice bin/sluice $(SOAK)

sandbox: ## the end-to-end tests under the list of system calls that is shipped
	SLUICE_SANDBOX=kill $(GO) test ./bench/e2e -count=1 -timeout 15m

.PHONY: torture soak sandbox
