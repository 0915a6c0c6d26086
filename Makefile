# Every task of the project. `make` alone lists them.
CARGO ?= cargo
DEVENV := target/debug/devenv
# Scenarios wait more than they compute: more of them at once than there are processors.
export RUST_TEST_THREADS ?= 4
# What profile-lint looks at.
PROFILES := $(filter-out manifests/profiles/kustomization.yaml,$(wildcard manifests/profiles/*.yaml)) docs/guide.md
# Where `make demo` keeps its state.
DEMO_DIR ?= .demo

# What is built and pushed. TLS_VERIFY=false is for a registry that speaks plain HTTP.
IMAGE_REGISTRY ?= quay.io
REGISTRY_NAMESPACE ?= multicluster-orchestrator
IMAGE_TAG ?= latest
VERSION ?= $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Name of the ClusterServiceVersion that this version replaces, such as odf-multicluster-orchestrator.v0.1.0, with the version and the
# bundle image of that one, which the catalog then holds too.
REPLACES ?=
PREVIOUS_VERSION ?=
PREVIOUS_BUNDLE_IMG ?=
IMG ?= $(IMAGE_REGISTRY)/$(REGISTRY_NAMESPACE)/multicluster-orchestrator:$(IMAGE_TAG)
BUNDLE_IMG ?= $(IMAGE_REGISTRY)/$(REGISTRY_NAMESPACE)/odf-multicluster-orchestrator-bundle:$(IMAGE_TAG)
CATALOG_IMG ?= $(IMAGE_REGISTRY)/$(REGISTRY_NAMESPACE)/odf-multicluster-orchestrator-catalog:$(IMAGE_TAG)
# The image with opm and grpc_health_probe that the catalog is served by.
CATALOG_BASE ?= quay.io/operator-framework/opm:v1.64.0
BUNDLE_DIR := target/bundle
CATALOG_DIR := target/catalog
export TLS_VERIFY ?= true

KUBECTL ?= kubectl
# The image that the manifests name.
DEFAULT_IMG := quay.io/multicluster-orchestrator/multicluster-orchestrator:latest

.DEFAULT_GOAL := help
.PHONY: help build test test-unit test-crash lint fmt generate manifests controlplane controlplane-older crds s3server demo demo-storage demo-status demo-down bench bench-exchange bench-storage bench-framework clean
.PHONY: docker-build docker-push bundle bundle-build bundle-push bundle-validate chart-validate catalog-build catalog-push
.PHONY: install uninstall deploy undeploy run minikube-up minikube-deploy minikube-demo minikube-down release-check book e2e

help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build everything, optimised.
	$(CARGO) build --workspace --release --locked

controlplane: ## Build etcd, Kubernetes and Open Cluster Management from source, where they are not cached.
	@hack/controlplane/build.sh >/dev/null

controlplane-older: ## Build the Open Cluster Management 1.0 that a scenario wants, where it is not cached.
	@hack/controlplane/build.sh older >/dev/null

crds: ## Get the CRDs of other operators out of their Go modules, where they are not cached.
	@hack/crds/build.sh >/dev/null

s3server: ## Build the S3 server of scenarios and demo from its Go module, where it is not cached.
	@hack/tools.sh versitygw >/dev/null

test: controlplane controlplane-older crds s3server ## Run every test, on real API servers.
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --locked
	$(CARGO) test --locked -p scenarios --test crash -- --nocapture

test-unit: ## Run the tests that need no API server.
	$(CARGO) test --locked -p peering-api -p exchange -p storage -p addon-framework -p addon-manager -p addon-agent -p exposition -p packaging

test-crash: controlplane ## Only the table of crashes after every write, and of every other fault at each.
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --locked -p scenarios --test crash -- --nocapture

e2e: controlplane ## Try it on whole clusters: kubelets, pods, a registry, OLM. Needs root and Debian packages, which it names; takes minutes.
	hack/e2e/run.sh

lint: ## Check formatting, lints, generated files, profiles and scripts.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --workspace --no-deps --document-private-items --locked
	$(CARGO) run -q --locked -p peering-api --example generate -- --check .
	$(CARGO) run -q --locked -p packaging -- manifests --check --repository .
	$(CARGO) run -q --locked -p addon-manager --bin profile-lint -- $(PROFILES)
	@if command -v shellcheck >/dev/null; then shellcheck -x hack/*.sh hack/*/*.sh tests/scenarios/tests/docs/*.sh .ci/run; \
	  else echo "shellcheck is not installed: scripts were not checked"; fi

fmt: ## Format the code.
	$(CARGO) fmt --all

generate: ## Write the CRDs and the catalogue of conditions from the Rust types.
	$(CARGO) run -q -p peering-api --example generate -- .

manifests: generate ## Write the CRDs, and the OLM bundle and the Helm chart that are made from manifests/hub.
	$(CARGO) run -q -p packaging -- manifests --repository .

docker-build: ## Build the image of manager and agents (docker, podman or buildah), with its bill of materials.
	hack/image/build.sh $(IMG) $(VERSION)

docker-push: ## Push it.
	hack/image/image.sh push $(IMG)

bundle: ## Write the OLM bundle for this image into target/bundle.
	$(CARGO) run -q --locked -p packaging -- bundle --repository . --image $(IMG) --version $(VERSION) --replaces "$(REPLACES)" --out $(BUNDLE_DIR)

bundle-build: ## Build the bundle's image.
	hack/image/image.sh build $(BUNDLE_IMG) $(BUNDLE_DIR)/bundle.Containerfile $(BUNDLE_DIR)

bundle-push: ## Push it.
	hack/image/image.sh push $(BUNDLE_IMG)

bundle-validate: ## Check the bundle, and a catalog of it, with OLM's own tools (built from Go modules).
	hack/olm/validate.sh bundle $(VERSION)

chart-validate: ## Check the chart with Helm (built from Go modules).
	$$(hack/tools.sh helm)/helm lint --strict charts/multicluster-orchestrator
	$$(hack/tools.sh helm)/helm template o charts/multicluster-orchestrator -n multicluster-orchestrator --kube-version v1.35.0 >/dev/null

catalog-build: ## Build the image of a file-based catalog with the pushed bundle.
	hack/olm/catalog.sh $(CATALOG_DIR)/configs $(VERSION) $(BUNDLE_IMG) "$(REPLACES)" "$(PREVIOUS_VERSION)" "$(PREVIOUS_BUNDLE_IMG)"
	hack/image/image.sh build $(CATALOG_IMG) hack/olm/catalog.Containerfile $(CATALOG_DIR) BASE=$(CATALOG_BASE)

catalog-push: ## Push it.
	hack/image/image.sh push $(CATALOG_IMG)

install: ## Install the CRDs into the cluster of your kubeconfig.
	$(KUBECTL) apply -k manifests/crds

uninstall: ## Remove them, and with them everything of their kinds.
	$(KUBECTL) delete --ignore-not-found -k manifests/crds

deploy: ## Install the hub side with this image into the cluster of your kubeconfig.
	$(KUBECTL) kustomize manifests/overlays/default | sed 's#$(DEFAULT_IMG)#$(IMG)#' | $(KUBECTL) apply -f -

undeploy: ## Remove it.
	$(KUBECTL) delete --ignore-not-found -k manifests/overlays/default

run: ## Run the manager on this machine against the hub of your kubeconfig.
	$(CARGO) run --locked -p addon-manager --bin addon-manager -- --agent-image $(IMG) --health-listen 127.0.0.1:8080

minikube-up: ## Start a hub and two clusters in minikube, joined by Open Cluster Management.
	hack/minikube.sh up

minikube-deploy: ## Build the image, load it into them and install hub and agents.
	hack/minikube.sh deploy

minikube-demo: ## Hand over a secret and CA bundles between the two clusters.
	hack/minikube.sh demo

minikube-down: ## Delete the three minikube clusters.
	hack/minikube.sh down

release-check: ## Tell what keeps this checkout from being released.
	hack/release-check.sh $(VERSION)

book: ## Write the documentation as a site into target/book (mdbook is built when first needed, which takes minutes).
	$$(hack/tools.sh mdbook)/mdbook build
	cp -r manifests charts target/book

demo: controlplane ## Start a hub and two clusters, hand a secret and CA bundles over, and leave it all running.
	$(CARGO) build --workspace --bins --locked
	$(DEVENV) demo --dir $(DEMO_DIR)

demo-storage: controlplane crds s3server ## The same with two storage clusters: mirrored, with real S3 servers and Ramen's configuration.
	$(CARGO) build --workspace --bins --locked
	target/debug/storage-demo play --dir $(DEMO_DIR)

demo-status: ## Show what either demo is doing.
	$(DEVENV) status --dir $(DEMO_DIR)

demo-down: ## Stop either demo and remove it.
	$(DEVENV) down --dir $(DEMO_DIR)

bench: controlplane ## Measure latency, writes and memory; prints figures, asserts nothing.
	$(CARGO) build --workspace --bins --release --locked
	$(CARGO) bench --locked -p scenarios --bench exchange

bench-exchange: bench ## `bench`, then a fleet of a thousand links on one hub, then the engine alone.
	$(CARGO) bench --locked -p scenarios --bench fleet
	$(CARGO) bench --locked -p exchange --bench engine -- --warm-up-time 1 --measurement-time 2

bench-storage: controlplane ## A hundred MirrorPeers on one hub: writes, time and memory of the manager.
	$(CARGO) build --workspace --bins --release --locked
	$(CARGO) bench --locked -p scenarios --bench storage

bench-framework: controlplane ## An addon on 1000 and 3000 clusters, by our framework, by the Go framework and by a bare loop.
	@hack/tools.sh bench-framework >/dev/null
	$(CARGO) bench --locked -p scenarios --bench framework

clean: ## Remove build output (the control planes' binaries stay in the cache).
	$(CARGO) clean
