# Two commands do everything: `make run` starts the gateway, `make test` checks all of it. Both
# install what they need and is missing; when all is there, that takes no time.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
SHELL := /bin/sh

.PHONY: run test bench

run: toolchain ## Build the release and start the gateway; ARGS="--config FILE" passes arguments
	cargo run --release -- $(if $(ARGS),run $(ARGS),)

test: deps fmt clippy unit loom doc deny ## Check everything: what CI runs
	@echo "All checks passed."

bench: toolchain bench-packages ## Measure beside floor and peers; ARGS="--quick" for a look, "--proxy" for the proxy (README of loadtest/)
	cargo build --release --locked --workspace
	$(CARGO_TARGET_DIR)/release/tidegate-loadtest compare $(ARGS)

# --- Settings -------------------------------------------------------------------------------------

# Where cargo builds; the loom build is kept apart, since its flags would rebuild everything.
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR

CARGO_DENY_VERSION := 0.20.2
# The version of the library in Cargo.toml: the two belong together.
GUNGRAUN_VERSION := 0.20.0

# Programs of `tests/deploy.rs` and `tests/walkthrough.rs`.
CARGO_DEB_VERSION := 3.8.0
OHA_VERSION := 1.16.0

CLIENTS := tests/clients
VENV := target/venv
CARGO_DENY := target/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_DEB := target/tools/cargo-deb-$(CARGO_DEB_VERSION)/bin/cargo-deb
OHA := target/tools/oha-$(OHA_VERSION)/bin/oha
GUNGRAUN := target/tools/gungraun-runner-$(GUNGRAUN_VERSION)/bin/gungraun-runner

# command:package of Debian. Only what is missing is installed.
BUILD_PACKAGES := cc:gcc,libc6-dev
TEST_PACKAGES := $(BUILD_PACKAGES) curl:curl chromium:chromium python3:python3 \
	python3-venv:python3-venv node:nodejs npm:npm nginx:nginx haproxy:haproxy caddy:caddy \
	prometheus:prometheus groff:groff-base systemd-analyze:systemd dpkg-shlibdeps:dpkg-dev \
	git:git ip:iproute2 mount:mount update-ca-certificates:ca-certificates
BENCH_PACKAGES := $(BUILD_PACKAGES) valgrind:valgrind,libc6-dbg python3:python3

# The peers that `make bench` measures beside; only their programs are used.
PEER_PACKAGES := nginx:nginx nchan:libnginx-mod-nchan pushpin:pushpin zurl:zurl haproxy:haproxy

# --- What `make test` needs -----------------------------------------------------------------------

.PHONY: deps packages toolchain components

deps: packages components $(VENV)/installed $(CLIENTS)/node_modules/installed \
	$(CARGO_DENY) $(CARGO_DEB) $(OHA) ## Install what the tests need and is missing

# nginx, haproxy, caddy and prometheus are started by the tests alone.
packages:
	@NO_SERVICES=1 sh scripts/install-packages.sh $(TEST_PACKAGES)

.PHONY: bench-packages
bench-packages:
	@NO_SERVICES=1 sh scripts/install-packages.sh $(PEER_PACKAGES)

toolchain:
	@sh scripts/install-packages.sh $(BUILD_PACKAGES)
	@command -v cargo >/dev/null || { echo "Rust is needed: install it with rustup" >&2; exit 1; }

components: toolchain
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || \
		rustup component add rustfmt clippy

$(VENV)/installed: $(CLIENTS)/requirements.txt tests/deploy/requirements.txt | packages
	python3 -m venv $(VENV)
	for list in $^; do \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
			--only-binary :all: --require-hashes -r $$list || exit 1; \
	done
	touch $@

$(CLIENTS)/node_modules/installed: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json | packages
	cd $(CLIENTS) && npm ci --loglevel=error
	touch $@

# A tool of its own: the project's flags and target folder are not for it.
$(CARGO_DENY): | toolchain
	env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --locked --debug \
		--root target/tools/cargo-deny-$(CARGO_DENY_VERSION) \
		--version $(CARGO_DENY_VERSION) cargo-deny

$(CARGO_DEB): | toolchain
	env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --no-default-features \
		--root target/tools/cargo-deb-$(CARGO_DEB_VERSION) \
		--version $(CARGO_DEB_VERSION) cargo-deb

# The one that takes minutes to build.
$(OHA): | toolchain
	env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --locked --debug \
		--root target/tools/oha-$(OHA_VERSION) --version $(OHA_VERSION) oha

# --- The checks, each alone -----------------------------------------------------------------------

.PHONY: fmt clippy unit loom doc deny

fmt: components ## Check the formatting (`cargo fmt --all` repairs it)
	cargo fmt --all --check

clippy: components ## Lint everything, warnings denied
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

unit: deps ## Run all tests; T=name runs those whose name holds it
	cargo test --workspace --profile fast --locked --no-fail-fast -- $(T)

loom: toolchain ## Run the concurrency models under loom
	RUSTFLAGS="--cfg tidegate_loom -D warnings" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom \
		cargo test --profile fast --lib --locked loom

doc: toolchain ## Build the documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

deny: $(CARGO_DENY) ## Check the dependencies' licences, versions and sources
	$(CARGO_DENY) --locked --log-level error check --hide-inclusion-graph licenses bans sources

# --- Benchmarks: not part of `make test`, see benches/README.md ------------------------------------

.PHONY: bench-micro bench-instructions bench-slow

bench-micro: toolchain ## Time each part of the data path; A=NAME runs those whose name holds it
	cargo bench --locked --features bench --bench micro -- $(A)

bench-instructions: $(GUNGRAUN) ## Count instructions against benches/instructions.txt; A=--bless renews it
	@sh scripts/install-packages.sh $(BENCH_PACKAGES)
	CARGO_TARGET_DIR=$(abspath $(CARGO_TARGET_DIR)) GUNGRAUN_RUNNER=$(CURDIR)/$(GUNGRAUN) \
		cargo bench --locked --features bench --bench instructions -- --output-format=json \
		>$(CARGO_TARGET_DIR)/instructions.json
	@python3 scripts/compare-instructions.py $(CARGO_TARGET_DIR)/instructions.json \
		benches/instructions.txt $(A)

bench-slow: toolchain ## What slow attacks do to a client that behaves; ARGS="--seconds 5" for a look
	@NO_SERVICES=1 sh scripts/install-packages.sh slowhttptest:slowhttptest python3:python3
	cargo build --locked --release --bin tidegate
	python3 scripts/slow-attacks.py $(CARGO_TARGET_DIR)/release/tidegate $(ARGS)

# Like cargo-deny, a tool of its own.
$(GUNGRAUN): | toolchain
	env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --locked --debug \
		--root target/tools/gungraun-runner-$(GUNGRAUN_VERSION) \
		--version $(GUNGRAUN_VERSION) gungraun-runner

# --- What ships -----------------------------------------------------------------------------------

.PHONY: package oha

package: toolchain $(CARGO_DEB) ## Build the Debian package into target/package
	@sh scripts/install-packages.sh dpkg-shlibdeps:dpkg-dev
	cargo build --release --locked --bin tidegate
	sh scripts/package.sh $(CARGO_DEB) release

oha: $(OHA) ## Build oha, for loadtest/oha; prints the folder that it is in
	@echo $(dir $(OHA))

.PHONY: screenshots

screenshots: deps ## Take the pictures of docs/images anew; look at them before they are committed
	cargo build --release --locked --bin tidegate
	node $(CLIENTS)/screenshots.mjs $(CARGO_TARGET_DIR)/release/tidegate

# --- Housekeeping ---------------------------------------------------------------------------------

.PHONY: help clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean: ## Remove everything that was built or installed here
	rm -rf target $(CLIENTS)/node_modules
