# tapedeck: `make demo` runs the main job, `make test` passes the tests. Each
# does all its set-up on a Debian or Ubuntu machine with Go, Node.js, make and
# a network; `make help` lists the rest.
export GOTOOLCHAIN := go1.26.9
export CGO_ENABLED ?= 0
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X tapedeck/internal/service.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build demo test test-race lint cross generate plugin plugin-test bench-path bench-pipeline bench-index bench-capture bench-redact bench-causes test-faults test-power test-canary test-upload fuzz fuzz-keep tools database clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: bin/tapedeck ## build bin/tapedeck

.PHONY: bin/tapedeck
bin/tapedeck:
	go build -trimpath -ldflags '$(LDFLAGS)' -o $@ .

demo: build ## record a small shop, make a scenario, replay it (60 s; the first time 5 min)
	bin/tapedeck demo

test: tools ## all tests that need no fault injection, on real servers
	go vet ./...
	go test -timeout 15m -skip '^TestACluster$$' ./...

test-race: tools ## the same under the race detector, but what takes long and is the same in the other
	CGO_ENABLED=1 go test -race -timeout 20m -skip '^TestCanaries$$|^TestACluster$$|^TestVersityGW$$/^s3$$|^TestARewritingProxyIsFound$$|^TestOriginsAnswerTheSame$$' ./...

lint: ## format, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt these: $$out"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

cross: ## build and vet for the other platforms
	@for target in darwin/arm64 linux/arm64; do \
	  echo "$$target"; \
	  GOOS=$${target%/*} GOARCH=$${target#*/} go build -o /dev/null . ; \
	  GOOS=$${target%/*} GOARCH=$${target#*/} go vet ./... ; \
	done

generate: ## make the Go code of the .proto files
	@command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler"; exit 1; }
	@mkdir -p .build
	go build -o .build/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
	protoc --plugin=.build/protoc-gen-go --go_out=. --go_opt=module=tapedeck $$(git ls-files '*.proto')

plugin: ## build the Grafana plugins into dist folders
	$(MAKE) -C grafana-plugin plugin

plugin-test: ## test the plugins' frontend and build
	$(MAKE) -C grafana-plugin plugin-test

bench-path: build ## 200,000 exchanges through capture, JetStream, archive and index
	go run ./e2e/benchpath

bench-pipeline: build ## the same with capture alone beside it, tapes worked off, freshness and ten minutes of steady traffic
	go run ./e2e/benchpath -parts capture,path,feed,fresh,soak

bench-index: ## writing into the index beside a bare COPY, its size on disk, and each view of INDEX_ROWS exchanges
	go test -run '^$$' -bench 'Write|Copy' -benchtime 30x -count 3 ./indexer/traffic
	go test -run '^$$' -bench Disk -benchtime 1x -timeout 60m ./indexer/traffic
	TAPEDECK_BENCH_ROWS=$(INDEX_ROWS) go test -run '^$$' -bench Views -timeout 0 ./indexer/traffic
INDEX_ROWS ?= 1000000

bench-redact: ## redact exchanges of 2 KiB of JSON with the default rules, beside json.Valid
	GOMAXPROCS=1 go test -run '^$$' -bench 'Exchange|Body|Valid' -count 3 ./capture/redact
bench-causes: ## how well outbound exchanges are linked to their causes without trace headers
	go run ./e2e/benchcauses

PARTS ?=
ROUNDS ?= 3
DURATION ?= 10s
SOAK ?= 2000000
bench-capture: build ## capture beside relays, proxies and other recorders (PARTS, ROUNDS, DURATION, SOAK)
	capture/bench/peers.sh .build/peers
	go build -o .build/capture-bench ./capture/bench
	.build/capture-bench -parts '$(PARTS)' -rounds $(ROUNDS) -duration $(DURATION) -soak $(SOAK)

test-faults: build ## stop servers of a cluster; kill, pause, starve and cut off the services for FAULT_TIME (2m) and count; FAULT_SEED repeats
	go test -count 1 -run '^TestACluster$$' ./e2e
	go build -o bin/faults ./e2e/faults
	bin/faults

test-power: build ## cut the power for FAULT_TIME (2m), as root; and with a broker that does not sync, which must lose something
	go build -o bin/faults ./e2e/faults
	bin/faults -power
	! bin/faults -power -unsynced

CANARIES ?= 2000
test-canary: tools ## send CANARIES secrets through all services and search all that is written; attack tokens
	CANARIES=$(CANARIES) REQUIRE_SERVICES=1 go test -count 1 -timeout 30m -v -run 'Canaries|Dictionary' ./e2e/canary ./capture/redact

UPLOAD_SIZE ?= 10GiB
test-upload: ## relay and record one upload of UPLOAD_SIZE; prints its time and memory
	UPLOAD_SIZE=$(UPLOAD_SIZE) go test -count 1 -timeout 30m -v -run TestLargeUpload ./capture

# What fuzzing has found to go new ways, of the dissectors and of redaction: Go
# keeps it in its cache, we in one file.
CORPUS = wire/testdata/fuzz-corpus.tar.gz
FOUND = $(shell go env GOCACHE)/fuzz/tapedeck
FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME, on from the corpus that is kept
	@mkdir -p $(FOUND) && tar -xzf $(CORPUS) -C $(FOUND)
	@for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

fuzz-keep: ## put what fuzzing has found here into the corpus that is kept
	cd $(FOUND) && find wire capture -type f -size -4k | LC_ALL=C sort | tar -czf $(CURDIR)/$(CORPUS) --mtime=@0 --owner=0 --group=0 --numeric-owner --no-recursion -T -

tools: ## programs that the tests drive: installed when missing
	@deploy/local/tools.sh
	@go run ./internal/tool/install

database: ## start a private TimescaleDB and print its DSN
	@deploy/local/timescale.sh start

clean: ## delete what was built, and the private database
	deploy/local/timescale.sh destroy
	rm -rf bin .build
