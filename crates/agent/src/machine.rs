//! What this machine is and has, read from the kernel.
//!
//! Source: kubernetes `pkg/kubelet/cadvisor`; proc(5), os-release(5).

use std::fs;
use std::num::NonZero;
use std::path::Path;

use crate::node::{Capacity, Machine};

/// Most pods on a node that says nothing of it.
pub const PODS_MAX: u32 = 110;

/// Reads what the machine says about itself.
pub fn machine(runtime_version: &str) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Machine {
        machine_id: read("/etc/machine-id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        os_image: os_image(&read("/etc/os-release")),
        runtime_version: runtime_version.to_owned(),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
    }
}

/// What the machine offers to one of `agents` that share it equally. The disk is the one that holds `data`.
pub fn capacity(data: &Path, agents: NonZero<u32>) -> Capacity {
    let share = u64::from(agents.get());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo")
        .map(|text| total_memory_bytes(&text))
        .unwrap_or_default();
    let disk = rustix::fs::statvfs(data)
        .map(|disk| disk.f_blocks * disk.f_frsize)
        .unwrap_or_default();
    Capacity {
        cpu_millis: u64::try_from(cores).unwrap_or(1) * 1000 / share,
        memory_bytes: memory / share,
        storage_bytes: disk / share,
        pods: PODS_MAX,
        extended: std::collections::BTreeMap::new(),
    }
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn total_memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(total_memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), 16 * 1024);
        assert_eq!(total_memory_bytes("nonsense"), 0);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }

    #[test]
    fn agents_of_one_machine_share_it() {
        let one = capacity(Path::new("/"), NonZero::new(1).unwrap());
        let two = capacity(Path::new("/"), NonZero::new(2).unwrap());
        assert_eq!(two.memory_bytes, one.memory_bytes / 2);
        assert_eq!(two.cpu_millis, one.cpu_millis / 2);
    }
}
