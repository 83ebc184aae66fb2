# Easel. `make help` lists what there is.

GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/easel-jobs/easel/internal/app.Version=$(VERSION)
LINT     := $(BIN)/golangci-lint
LINT_VERSION := v2.15.0
VULN_VERSION := v1.1.4

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Draw a picture, a film and a sound: everything in one process, no key needed
	@$(GO) run ./cmd/easel demo $(DEMO_FLAGS)

.PHONY: run
run: ## Run everything in one process on 127.0.0.1:8080
	@$(GO) run ./cmd/easel up

.PHONY: build
build: ## Build the four programs into bin/
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: test
test: ## Run every test under the race detector (installs redis-server if it is missing)
	@scripts/require redis-server
	@scripts/require espeak-ng || echo "no espeak-ng to be had: its test is skipped"
	$(GO) test -race -timeout 15m ./...

.PHONY: test-quick
test-quick: ## Run every test without the race detector
	@scripts/require redis-server
	@scripts/require espeak-ng || echo "no espeak-ng to be had: its test is skipped"
	$(GO) test -timeout 10m ./...

.PHONY: test-typescript
test-typescript: clients/typescript/node_modules ## Test the TypeScript client with Node against a server built from this tree
	@scripts/require redis-server
	cd clients/typescript && npm test

clients/typescript/node_modules: clients/typescript/package-lock.json
	@scripts/require node npm
	cd clients/typescript && npm ci --no-audit --no-fund
	@touch $@

.PHONY: fuzz
fuzz: ## Run each fuzz test for FUZZTIME (30s)
	@GO=$(GO) scripts/fuzz $(or $(FUZZTIME),30s) $(FUZZ)

.PHONY: lint
lint: $(LINT) ## Check format, vet and golangci-lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags easel_http ./pkg/client
	$(LINT) run

$(LINT): Makefile
	@mkdir -p $(BIN)
	GOBIN=$(abspath $(BIN)) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@touch $(LINT)

.PHONY: vuln
vuln: ## Look for known vulnerabilities
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION) ./...

.PHONY: bench
bench: ## Measure against raw asynq doing the same, interleaved in one run
	@scripts/require redis-server
	$(GO) run ./bench $(BENCH_FLAGS)

CHAOS_JOBS    ?= 5000
CHAOS_MINUTES ?= 5
CHAOS_SEED    ?= 0
CHAOS_RUNS    ?= 1
RECOVERY_KILLS ?= 100
PAUSED_SECONDS ?= 65
PAUSED_RUNS    ?= 2

.PHONY: chaos
chaos: ## Break processes, Redis and connections under load, and count (CHAOS_JOBS, _MINUTES, _SEED, _RUNS)
	@scripts/require redis-server
	$(GO) test ./internal/faults -run 'TestChaos$$' -v -count=$(CHAOS_RUNS) -timeout 0 -failfast \
		-chaos.jobs=$(CHAOS_JOBS) -chaos.for=$(CHAOS_MINUTES)m -chaos.seed=$(CHAOS_SEED)

.PHONY: recovery
recovery: ## Kill workers and measure how soon their jobs move again (RECOVERY_KILLS)
	@scripts/require redis-server
	$(GO) test ./internal/faults -run TestKilledWorkersJobsMoveAgainSoon -v -count=1 -timeout 0 -recovery.kills=$(RECOVERY_KILLS)

.PHONY: paused
paused: ## Stop a worker inside paid calls for longer than everybody waits (PAUSED_SECONDS, _RUNS)
	@scripts/require redis-server
	$(GO) test ./internal/faults -run 'TestPausedWorker$$' -v -count=$(PAUSED_RUNS) -timeout 0 -failfast -paused.for=$(PAUSED_SECONDS)s

.PHONY: docs
docs: ## Write again what is generated: the state diagram, the Go and HTTP interfaces, the TypeScript types
	$(GO) test ./pkg/tasks -run TestStateMachineDocument -update
	$(GO) test ./internal/httpapi -run TestDocumentFile -update
	$(GO) test ./internal/documents -run TestClientSurface -update
	@if command -v npm >/dev/null; then $(MAKE) clients/typescript/node_modules && cd clients/typescript && npm run -s generate; \
	else echo "no Node: the types of clients/typescript are as they were"; fi

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)
