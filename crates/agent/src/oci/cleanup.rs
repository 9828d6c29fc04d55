//! Removing everything a data directory has in the kernel: for `rota down` and for clusters that end with their command.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::cgroup::Cgroups;
use super::record::{Layout, SANDBOX_FILE, SandboxRecord, read_record};
use crate::network::{Links, Nat, Prefix};
use crate::volumes;

/// What a clean-up has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Sandboxes of pods, with their containers.
    pub sandboxes: usize,
    /// Volumes in memory, with what they held.
    pub memory_volumes: usize,
}

/// Ends every container of a data directory and removes its sandboxes, cgroups, links and rules, and its volumes in memory, of
/// all its nodes.
///
/// Images, logs and volumes on disk stay. Blocking. Idempotent; call it only when no agent of the data directory runs.
///
/// Errors: the first thing that could not be removed; everything else was tried.
pub fn cleanup(data_dir: &Path) -> io::Result<Removed> {
    let mut removed = Removed::default();
    let mut outcome = Ok(());
    let nodes = match fs::read_dir(data_dir.join("nodes")) {
        Ok(nodes) => nodes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(removed),
        Err(e) => return Err(e),
    };
    for node in nodes {
        let name = node?.file_name();
        let layout = Layout::new(data_dir, &name.to_string_lossy());
        removed.sandboxes += fs::read_dir(layout.sandboxes()).map_or(0, Iterator::count);
        outcome = outcome.and(clean_node(&layout));
        // After the containers: what they have mounted is theirs.
        for state in fs::read_dir(layout.node_dir.join("state"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let unmounted = volumes::unmount(&state.path());
            removed.memory_volumes += *unmounted.as_ref().unwrap_or(&0);
            outcome = outcome.and(unmounted.map(drop));
        }
    }
    outcome.map(|()| removed)
}

fn clean_node(layout: &Layout) -> io::Result<()> {
    let cgroups = Cgroups::of_host()?;
    // Containers first, while their shims can still reap them and put their exits on disk.
    cgroups.kill(&layout.cgroup());
    for entry in fs::read_dir(layout.sandboxes())
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if let Ok(record) = read_record::<SandboxRecord>(&entry.path().join(SANDBOX_FILE))
            && record.shim.is_alive()
            && let Some(pid) = i32::try_from(record.shim.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let removed = cgroups.remove(&layout.cgroup());
    // The table's prefix does not matter for its removal.
    let anything = Prefix {
        network: std::net::Ipv4Addr::UNSPECIFIED,
        len: 0,
    };
    // A kernel without nf_tables has no table to remove.
    let _ = Nat::new(&layout.tag, &layout.bridge(), anything, None).remove();
    let unlinked = Links::open().and_then(|links| links.remove(&layout.bridge()));
    let deleted = match fs::remove_dir_all(layout.sandboxes()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    removed.and(unlinked).and(deleted)
}
