# Everything runs as root where it needs hosts: the lab makes them out of namespaces.
GO := scripts/go
export PATH := $(CURDIR)/.cache/busybox/bin:$(PATH)

.PHONY: build demo test test-kernel test-debian13 bench lint fuzz clean deps-%

build: ## bin/overlane
	$(GO) build -o bin/overlane ./cmd/overlane

demo: deps-demo build ## two hosts, two tenants, real packets
	bin/overlane demo

test: deps-test ## everything, on real switches and real Docker, with the race detector
	scripts/test.sh

test-kernel: deps-kernel build ## the overlay on the kernel datapath, in a small VM
	scripts/test-kernel.sh

test-debian13: ## demo and tests on Debian 13, which debootstrap makes in .cache/
	scripts/test-debian13.sh

bench: deps-bench build ## measures ours beside others, in turns
	$(GO) run ./bench

lint: ## formatting, vet, staticcheck, golangci-lint
	scripts/lint.sh

fuzz: ## each fuzzer for FUZZTIME
	scripts/fuzz.sh $(or $(FUZZTIME),10s)

clean:
	rm -rf bin

deps-%:
	@scripts/install-deps.sh $*
