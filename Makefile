# One front door: each target sets up what it needs first (see `make help`). Caches live outside the tree: RTCAM_CACHE,
# by default ~/.cache/rtcam-build.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test test-rust test-browser test-nat test-qemu fuzz bench cross dist clean
TARGET ?= armv7-unknown-linux-gnueabihf
TIME ?= 60
TARGETS ?=
PARTS ?= fmt clippy unit rust browser nat qemu

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done

run: ## set up, build, start; ARGS="--config my.toml" are passed on
	@scripts/setup.sh run
	@. scripts/env.sh; cargo build --release --locked; exec $${CARGO_TARGET_DIR:-target}/release/rtcam run $(ARGS)

test: ## set up and run every check: format, lints, unit, integration, browser, NATs, QEMU with a real V4L2 driver
	@scripts/test.sh $(PARTS)

test-rust: ## unit and integration tests, real footage included
	@scripts/test.sh rust

test-browser: ## page and signalling in node, then Chromium
	@scripts/test.sh browser

test-nat: ## who connects through which NATs: network namespaces, nftables, coturn
	@scripts/test.sh nat

test-qemu: ## rtcam for aarch64 and armv7 in guests: vivid, an emulated USB webcam, and as a service of a Debian
	@scripts/test.sh qemu

fuzz: ## let a fuzzer with coverage guidance loose on what reads foreign bytes: TIME=60 seconds per target, TARGETS="room dtls" (default: all)
	@TIME=$(TIME) scripts/fuzz.sh $(TARGETS)

bench: ## print the figures of this machine
	@scripts/bench.sh

cross: ## build for a board: TARGET=armv7-unknown-linux-gnueabihf (default) or aarch64-unknown-linux-gnu, PROFILE=release|board
	@scripts/setup.sh test
	@scripts/cross/build.sh $(TARGET)

dist: ## tarball and .deb for TARGET in dist/: program, config, boards, service files, install.sh, licences
	@scripts/setup.sh test
	@scripts/dist.sh $(TARGET)

clean: ## remove what was built in the tree (caches outside stay)
	cargo clean
	rm -rf artefacts dist tests/browser/node_modules
