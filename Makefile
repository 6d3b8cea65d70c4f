# Targets with ## are in "make help". Hosts are network namespaces, so whatever needs hosts needs root.
GO := scripts/go
export PATH := $(CURDIR)/.cache/busybox/bin:$(PATH)

.PHONY: help build demo check test test-kernel test-debian13 lint vulncheck fmt docs generate bench fuzz release clean deps-%

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

build: ## the programs, into bin/: without libc, as they are released, they start faster
	CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/...

demo: deps-demo ## two hosts, two tenants, real packets; then gateways that die (root)
	@scripts/step.sh "building Overlane" env CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/...
	@bin/overlane demo

check: ## formatting, vet and every test that needs no root: under a minute
	@scripts/check.sh

test: deps-test ## every test, on real switches and real Docker, with the race detector (root)
	scripts/test.sh

test-kernel: deps-kernel build ## the demonstration on the kernel datapath, in small VMs (root)
	scripts/test-kernel.sh

test-debian13: ## demo and tests on Debian 13, which debootstrap makes in .cache/ (root)
	scripts/test-debian13.sh

lint: ## formatting, vet, staticcheck, golangci-lint
	scripts/lint.sh

vulncheck: ## known vulnerabilities that the code reaches, where their database can be had
	scripts/vulncheck.sh

fmt: ## format all Go files
	@scripts/format.sh -w

docs: ## print docs/reference.md, pipeline.md and openapi.json from the code
	$(GO) test ./model ./dataplane ./server -run IsFresh -update

generate: docs ## docs, and whatever go generate makes
	$(GO) generate ./...

bench: deps-bench build ## measure beside others, in turns: all, or ONLY=attach,snat (root)
	$(GO) run ./bench $(if $(ONLY),-only $(ONLY))

fuzz: ## each fuzzer for FUZZTIME, 10s by default
	scripts/fuzz.sh $(or $(FUZZTIME),10s)

release: ## archives for linux/amd64 and linux/arm64 with checksums, into dist/; VERSION=1.2.3
	scripts/release.sh $(VERSION)

clean: ## remove bin/ and dist/
	rm -rf bin dist

deps-%:
	@scripts/install-deps.sh $*
