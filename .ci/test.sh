#!/usr/bin/env bash
# The tests, as README.md says. Root runs the ones with real containers; kubectl is taken from $KUBECTL or the PATH, an old one
# from $KUBECTL_OLD.
set -euo pipefail
cd "$(dirname "$0")/.."

# How many stories run side by side: they mostly wait for containers and clocks.
stories=${STORIES_AT_ONCE:-6}

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

if cargo nextest --version >/dev/null 2>&1; then
    # One build for both runs: the same packages, so the same features.
    step "tests"
    cargo nextest run --locked --workspace -E 'not package(rota-e2e)' --no-fail-fast
    step "stories"
    cargo nextest run --locked --workspace -E 'package(rota-e2e)' --no-fail-fast --test-threads "$stories"
    step "stories of Jobs and DaemonSets, with controllers that reach the cluster over HTTPS"
    ROTA_CONTROLLERS=remote cargo nextest run --locked --workspace -E 'package(rota-e2e) and test(/^(jobs|daemon_sets)::/)' \
        --no-fail-fast --test-threads "$stories"
    step "stories of Jobs and DaemonSets, with a network in between that loses, delays and refuses"
    ROTA_CONTROLLERS=proxy cargo nextest run --locked --workspace -E 'package(rota-e2e) and test(/^(jobs|daemon_sets|daemon_set_rollouts)::/)' \
        --no-fail-fast --test-threads "$stories"
else
    step "tests and stories"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    status=0
    RUST_TEST_THREADS=$stories cargo test --locked --workspace --lib --bins --tests --no-fail-fast 2>&1 | tee "$log" || status=$?
    awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
    [ "$status" -eq 0 ] || exit "$status"
fi

step "examples in the documentation"
cargo test --locked --workspace --doc --quiet
