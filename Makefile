# Everything is built with one profile and for the whole workspace: other flags would
# compile lance a second time, which takes the better part of an hour.

CARGO_FLAGS := --workspace --release --locked
TARGET_DIR  := $(or $(CARGO_TARGET_DIR),target)
TRIVIUM     := $(TARGET_DIR)/release/trivium
INTENTS     := model-host/intents

.DEFAULT_GOAL := help
.PHONY: help setup build encoder intents demo test test-openai crash lint fmt bench proto telemetry
.PHONY: trace-demo manifests alerts images dashboards audit rolling rotation overhead fuzz

# Rounds and seed of `make crash`.
ROUNDS ?= 300
SEED   ?= 1

# How long each target of `make fuzz` runs, and which; all of them if none is named.
SECONDS ?= 60
TARGETS ?=

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## Install what the build needs and is missing
	@deploy/setup.sh

build: setup ## Build the binary
	cargo build $(CARGO_FLAGS) --bin trivium

encoder: build ## Fetch the encoder, if it is not there yet
	$(TRIVIUM) models pull minilm

intents: encoder ## Fine-tune the intent model on the labelled queries, if there is none yet
	$(TRIVIUM) intents finetune --if-absent --oos-label out_of_scope --learn-oos --epochs 8 --batch 32 \
	  --train $(INTENTS)/train.jsonl --valid $(INTENTS)/valid.jsonl --test $(INTENTS)/test.jsonl

demo: intents ## Start everything and ask one question for each road (ONCE=1 stops it at the end)
	@TRIVIUM=$(TRIVIUM) ONCE=$(ONCE) deploy/demo.sh

test: encoder ## Run every test
	cargo test $(CARGO_FLAGS)

test-openai: build ## Ask a real server of OpenAI's protocol for answers (downloads one once)
	cargo build $(CARGO_FLAGS) --example openai_server
	deploy/openai/test.sh $(TARGET_DIR)/release/examples/openai_server

crash: encoder ## Kill the retriever in ROUNDS rounds while clients write (ROUNDS=300 SEED=1)
	CRASH_ROUNDS=$(ROUNDS) CRASH_SEED=$(SEED) cargo test $(CARGO_FLAGS) --test it crash_rounds -- --nocapture

fuzz: setup ## Feed the parsers with inputs that a search makes up (SECONDS=1200 TARGETS="filter routes")
	fuzz/run.sh $(SECONDS) $(TARGETS)

lint: setup manifests alerts images ## Check formatting, lints and all that is in deploy/
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

manifests: ## Render the Kubernetes manifests, and check them against four versions of it
	deploy/check/run.sh manifests

alerts: ## Test the alerts, and whether every query names what the services emit
	deploy/check/run.sh alerts

images: ## Check the Dockerfile, the compose file and the collector's configuration
	deploy/check/run.sh images

audit: ## Check the licences and sources of all dependencies (builds cargo-deny once)
	deploy/check/run.sh audit

rolling: intents ## Replace every replica of the services while 32 clients ask, and count what fails
	deploy/check/run.sh rolling $(abspath $(TRIVIUM))

rotation: intents ## Replace all certificates again and again for a minute while 32 clients ask, and count what fails
	deploy/check/run.sh rotation $(abspath $(TRIVIUM))

overhead: intents ## Measure what tracing, certificates and keys cost a query (on a quiet machine)
	deploy/check/run.sh overhead $(abspath $(TRIVIUM))

dashboards: ## Write the Grafana dashboards and the cluster's rules anew from their sources
	deploy/check/run.sh write

fmt: ## Format the code
	cargo fmt --all

bench: build ## Measure the running services
	$(TRIVIUM) bench

trace-demo: intents ## Show the demo's questions in Phoenix, assert their traces and take a picture (KEEP=1 leaves it running)
	@TRIVIUM=$(TRIVIUM) KEEP=$(KEEP) deploy/trace-demo/run.sh

# Only this one builds a single crate: the others may not compile before it has run.
proto: setup ## Write the generated code of the contract anew
	TRIVIUM_WRITE_PROTO=1 cargo test --release --locked --package trivium-proto

# As with `proto`: the code that uses the names compiles only once they are there.
telemetry: ## Write the names and the page of the telemetry contract anew
	TRIVIUM_WRITE_TELEMETRY=1 cargo test --release --locked --package trivium-telemetry
