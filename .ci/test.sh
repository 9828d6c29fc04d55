#!/usr/bin/env bash
# The tests, as README.md says. Root runs the ones with real containers; kubectl is taken from $KUBECTL or the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all -- --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo test --locked --workspace
