# Every task of the project. `make` alone lists them.
CARGO ?= cargo
DEVENV := target/debug/devenv
# What profile-lint looks at.
PROFILES := $(filter-out manifests/profiles/kustomization.yaml,$(wildcard manifests/profiles/*.yaml)) docs/guide.md
# Where `make demo` keeps its state.
DEMO_DIR ?= .demo

.DEFAULT_GOAL := help
.PHONY: help build test test-unit test-crash lint fmt generate controlplane crds demo demo-status demo-down bench bench-exchange clean

help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build everything, optimised.
	$(CARGO) build --workspace --release --locked

controlplane: ## Build etcd, Kubernetes and Open Cluster Management from source, where they are not cached.
	@hack/controlplane/build.sh >/dev/null

crds: ## Get the CRDs of storage operators out of their Go modules, where they are not cached.
	@hack/crds/build.sh >/dev/null

test: controlplane crds ## Run every test, on real API servers.
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --locked
	$(CARGO) test --locked -p scenarios --test crash -- --nocapture

test-unit: ## Run the tests that need no API server.
	$(CARGO) test --locked -p peering-api -p exchange -p storage -p addon-framework -p addon-manager -p addon-agent -p exposition

test-crash: controlplane ## Only the table of crashes after every write, and of every other fault at each.
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --locked -p scenarios --test crash -- --nocapture

lint: ## Check formatting, lints, generated files and profiles.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) run -q --locked -p peering-api --example generate -- --check .
	$(CARGO) run -q --locked -p addon-manager --bin profile-lint -- $(PROFILES)

fmt: ## Format the code.
	$(CARGO) fmt --all

generate: ## Write the CRDs and the catalogue of conditions from the Rust types.
	$(CARGO) run -q -p peering-api --example generate -- .

demo: controlplane ## Start a hub and two clusters, hand a secret and CA bundles over, and leave it all running.
	$(CARGO) build --workspace --bins --locked
	$(DEVENV) demo --dir $(DEMO_DIR)

demo-status: ## Show what the demo is doing.
	$(DEVENV) status --dir $(DEMO_DIR)

demo-down: ## Stop the demo.
	$(DEVENV) down --dir $(DEMO_DIR)

bench: controlplane ## Measure latency, writes and memory; prints figures, asserts nothing.
	$(CARGO) build --workspace --bins --release --locked
	$(CARGO) bench --locked -p scenarios --bench exchange

bench-exchange: bench ## `bench`, then a fleet of a thousand links on one hub, then the engine alone.
	$(CARGO) bench --locked -p scenarios --bench fleet
	$(CARGO) bench --locked -p exchange --bench engine -- --warm-up-time 1 --measurement-time 2

clean: ## Remove build output (the control planes' binaries stay in the cache).
	$(CARGO) clean
