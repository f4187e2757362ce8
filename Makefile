# Every target does its own set-up: see tests/support/setup.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: demo test scenarios examine lint bench drivers fuzz build

# More for the demo, for example: make demo DEMO="--pattern hot --seconds 10"
DEMO ?=

# The get-or-create deadlock, direct and through interlock, on MariaDB and then on MySQL.
demo:
	@tests/support/setup
	@cargo build --release --quiet
	@tests/support/demo $(DEMO)

# All tests, on both servers.
test:
	@tests/support/setup
	cargo test --quiet

# The lock model's score on tests/scenarios, both servers, with every miss and false alarm; some of them:
# make scenarios SCENARIOS=foreign-key
scenarios:
	@tests/support/setup
	@SCENARIOS="$(SCENARIOS)" cargo test --quiet --test model -- --nocapture --exact scenarios::the_model_is_as_good_as_it_was

# The lock model's score on random cases, failing ones shown as small as they go; and on MySQL the locks that
# `interlock explain` lists beside those that the server holds. With CLASS only the faults of these classes are looked
# for, and no lists.
# make examine CASES=10000 SEED=3 SERVER=mysql SHOW=20 CLASS=certain
CASES ?= 1000
SEED ?= 1
SHOW ?= 12
examine:
	@tests/support/setup
	@EXAMINE_CASES=$(CASES) EXAMINE_SEED=$(SEED) EXAMINE_SERVER=$(SERVER) EXAMINE_SHOW=$(SHOW) EXAMINE_CLASS="$(CLASS)" \
	    cargo test --quiet --test model -- --nocapture --ignored examine_all

# reorder held to its promises on random transactions with faults (clients that leave, kills, crashes of the server),
# both servers: no more deadlocks than direct, no hold beyond its deadline, the outcome of some serial order, nothing
# left. make examine-reorder SECONDS=60 SEED=7 SERVER=mariadb
SECONDS_OF_EXAMINE = $(if $(filter command line environment override,$(origin SECONDS)),$(SECONDS),3600)
.PHONY: examine-reorder
examine-reorder:
	@tests/support/setup
	EXAMINE_SECONDS=$(SECONDS_OF_EXAMINE) EXAMINE_SEED=$(SEED) EXAMINE_SERVER=$(SERVER) \
	    cargo test --release --quiet --test serial -- --include-ignored --nocapture --exact for_an_hour

# Format, lints and documentation; a warning is a fault.
lint:
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet

# Figures: direct, HAProxy, mysqlrouter where installed, interlock as it is released. See tests/bench/run --help.
bench:
	@tests/support/setup bench
	@program=$$(tests/bench/optimize); INTERLOCK_PROGRAM=$$program tests/bench/run $(BENCH)

# The program as it is released, target/optimized/interlock: built twice, and put to work in between.
.PHONY: optimized
optimized:
	@tests/support/setup bench
	@tests/bench/optimize

# Real drivers, command-line clients and an ORM: through interlock as direct, on both servers.
drivers:
	@tests/support/setup drivers
	@cargo build --release --quiet
	@tests/drivers/run $(DRIVERS)

# Each fuzz target for a minute (FUZZ_SECONDS), or only some: make fuzz FUZZ="digest response"
fuzz:
	@tests/fuzz/run $(FUZZ)

# Licences, sources and advisories of everything that is linked: deny.toml.
.PHONY: deny
deny:
	@tests/support/deny

# Pictures of the dashboards' stand-ins, dark and light, after a minute and a half of a real workload:
# target/pictures/*.png. make pictures PICTURES="--server mysql --only fleet"
.PHONY: pictures
pictures:
	@tests/support/setup pictures
	@cargo build --release --quiet
	@tests/dashboards/picture $(PICTURES)

build:
	cargo build --release

# The console's packet gate under valgrind, and the same packets without it, where valgrind must find the fault.
.PHONY: memcheck
memcheck:
	@tests/support/setup memcheck
	@tests/support/memcheck

# Faults at every message, faults at random, rollouts, restarts, failover, 10,000 idle and 2,000 busy connections:
# minutes. CHAOS_SECONDS, CHAOS_IDLE, CHAOS_BUSY, CHAOS_ACCOUNTS.
.PHONY: chaos
chaos:
	@tests/support/setup
	CHAOS_STEP=1 CHAOS_SECONDS=$${CHAOS_SECONDS:-60} cargo test --release --quiet --test chaos -- \
	    --include-ignored --skip soak --nocapture --test-threads=1

# Hours of transfers with faults, in rounds that each end with every invariant checked: make soak SECONDS=600
SECONDS_OF_SOAK = $(if $(filter command line environment override,$(origin SECONDS)),$(SECONDS),7200)
.PHONY: soak
soak:
	@tests/support/setup
	SOAK_SECONDS=$(SECONDS_OF_SOAK) cargo test --release --quiet --test chaos -- --include-ignored --nocapture soak

# The Debian package, built and held to what it promises: target/debian/interlock_*.deb.
.PHONY: deb
deb:
	@deploy/deb

# Manifests, units, image and scripts of deploy/, by the tools that exist for them.
.PHONY: deploy-check
deploy-check:
	@deploy/check
