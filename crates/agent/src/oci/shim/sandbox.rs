//! What a shim does to become a pod's sandbox: it enters namespaces of its own and wires them up.
//!
//! The shim's namespaces are the pod's: network, IPC and host name live as long as it does, without a pause container
//! and without anything mounted on the node. Its mount namespace receives what is mounted on the node later (volumes)
//! but gives nothing back. Only a process namespace shared by the pod needs a process of its own, its first.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::process::{Pid, Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::spec::PidNamespace;
use super::sys;
use crate::network::Links;
use crate::oci::protocol::Setup;
use crate::runtime::SandboxSpec;

/// Size of a pod's shared memory directory, as containerd sets it.
const SHM_OPTIONS: &str = "mode=1777,size=67108864";

/// A sandbox that stands.
pub(crate) struct Sandbox {
    /// The tmpfs of bundles, merged roots and libcontainer's state, seen by the shim only.
    pub run: PathBuf,
    /// The pod's shared memory directory.
    pub shm: PathBuf,
    /// How its containers see processes.
    pub pids: PidNamespace,
    /// The first process of the shared process namespace.
    pub pause: Option<Pid>,
}

/// Makes this process the sandbox.
///
/// Errors: what was attempted, and the cause; the process must exit then, which undoes everything.
pub(crate) fn enter(dir: &Path, setup: &Setup) -> Result<Sandbox, (String, io::Error)> {
    let spec = &setup.spec;
    let node_links = setup
        .network
        .is_some()
        .then(Links::open)
        .transpose()
        .map_err(during("opening a netlink socket"))?;
    let mut flags = UnshareFlags::NEWNS;
    if !spec.host_network {
        flags |= UnshareFlags::NEWNET;
    }
    // The node's network comes with the node's name.
    if !spec.host_network {
        flags |= UnshareFlags::NEWUTS;
    }
    if !spec.host_ipc {
        flags |= UnshareFlags::NEWIPC;
    }
    sys::leave_namespaces(flags).map_err(during("creating namespaces"))?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", propagation).map_err(|e| ("leaving the node's mount table".to_owned(), e.into()))?;
    let run = dir.join("run");
    make_tmpfs(&run, "mode=700").map_err(during("mounting the sandbox's working directory"))?;
    let shm = run.join("shm");
    if spec.host_ipc {
        fs::create_dir_all(&shm).map_err(during("making the shared memory directory"))?;
        mount_bind_recursive("/dev/shm", &shm).map_err(|e| ("sharing /dev/shm".to_owned(), e.into()))?;
    } else {
        make_tmpfs(&shm, SHM_OPTIONS).map_err(during("mounting the shared memory directory"))?;
    }
    if !spec.host_network {
        rustix::system::sethostname(spec.hostname.as_bytes())
            .map_err(|e| (format!("setting the host name {:?}", spec.hostname), e.into()))?;
        wire(setup, node_links.as_ref()).map_err(during("wiring the pod's network"))?;
    }
    set_sysctls(spec)?;
    let (pids, pause) = process_namespace(spec).map_err(during("making the pod's process namespace"))?;
    Ok(Sandbox { run, shm, pids, pause })
}

fn during(what: &'static str) -> impl FnOnce(io::Error) -> (String, io::Error) {
    move |e| (what.to_owned(), e)
}

fn make_tmpfs(path: &Path, options: &str) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let options = std::ffi::CString::new(options)?;
    Ok(mount(
        "tmpfs",
        path,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(&*options),
    )?)
}

fn wire(setup: &Setup, node_links: Option<&Links>) -> io::Result<()> {
    let links = Links::open()?;
    let (Some(network), Some(node_links)) = (&setup.network, node_links) else {
        return links.raise_loopback();
    };
    // Pods have IPv4 only. Without this each new link would search for IPv6 routers; loopback keeps ::1.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    node_links.connect_pod(
        &network.host_link,
        network.bridge_index,
        network.address,
        std::process::id(),
    )?;
    links.configure_pod(network.address, network.prefix_len, network.gateway)?;
    if !setup.spec.port_mappings.is_empty() {
        node_links.allow_hairpin(&network.host_link)?;
    }
    Ok(())
}

fn set_sysctls(spec: &SandboxSpec) -> Result<(), (String, io::Error)> {
    for (name, value) in &spec.sysctls {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value).map_err(|e| (format!("setting the kernel parameter {name} to {value:?}"), e))?;
    }
    Ok(())
}

fn process_namespace(spec: &SandboxSpec) -> io::Result<(PidNamespace, Option<Pid>)> {
    if spec.host_pid {
        return Ok((PidNamespace::Node, None));
    }
    if !spec.share_process_namespace {
        return Ok((PidNamespace::Own, None));
    }
    let own = fs::File::open("/proc/self/ns/pid")?;
    sys::leave_namespaces(UnshareFlags::NEWPID)?;
    let pause = sys::fork()?;
    let Some(pause) = pause else { be_first_process() };
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    Ok((PidNamespace::of(pause), Some(pause)))
}

/// The first process of a shared namespace: reaps orphans, does nothing else, dies with the shim.
fn be_first_process() -> ! {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    sys::ignore_children();
    loop {
        sys::pause();
    }
}
