//! The embedded container runtime on a real kernel. Needs root and Debian's `busybox-static`.
//!
//! Without the standard test harness, because this binary is also the shim of its own tests: `main` must be able to
//! become one before any thread starts. Arguments filter tests by name, as usual.

mod fixture;
mod images;
mod isolation;
mod lifecycle;
mod network;
mod streams;

use fixture::Test;

fn main() {
    rota_agent::oci::shim::main_if_shim();
    let modules = [
        lifecycle::tests(),
        isolation::tests(),
        network::tests(),
        streams::tests(),
        images::tests(),
    ];
    let tests: Vec<Test> = modules.into_iter().flatten().collect();
    std::process::exit(fixture::run(&tests));
}
