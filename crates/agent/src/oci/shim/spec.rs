//! The OCI runtime document of a container: what a pod asked for, in libcontainer's terms.
//!
//! Pure: which mounts, capabilities, masked paths and devices a container has by default and how privileges change
//! them. Namespaces that the shim itself is in (network, IPC, UTS) are not named: containers inherit them.
//! Source: containerd `pkg/oci/spec.go`, `internal/cri/server/container_create.go`; node specification §20.

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde_json::{Value, json};

use super::user::User;
use crate::oci::cgroup::oci_resources;
use crate::oci::protocol::Start;
use crate::runtime::{Mount, Security};

/// The search path of an image that brings none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Capabilities of a container that asks for nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability, in the order of their numbers.
const ALL_CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// How a container sees processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PidNamespace {
    /// Its own.
    Own,
    /// The one at this path, shared with others.
    Shared(PathBuf),
    /// The node's.
    Node,
}

impl PidNamespace {
    /// That of a process, as long as it has not been waited for.
    pub(super) fn of(process: Pid) -> Self {
        Self::Shared(PathBuf::from(format!("/proc/{}/ns/pid", process.as_raw_nonzero())))
    }
}

/// What a container's document is made from, beside the request.
pub(crate) struct Surroundings<'a> {
    /// The container's assembled root.
    pub root: &'a Path,
    /// Who it runs as.
    pub user: &'a User,
    /// How it sees processes.
    pub pids: PidNamespace,
    /// The pod's shared memory directory.
    pub shm: &'a Path,
    /// Its cgroup.
    pub cgroup: &'a str,
    /// Whether this host's cgroups are v2.
    pub unified_cgroups: bool,
    /// The bounding set of capabilities the shim has: what it lacks it cannot give.
    pub capabilities_held: u64,
    /// The node's devices, for privileged containers.
    pub devices: Vec<Value>,
}

/// The environment of a container: what was asked for, completed where nothing can run without.
pub(crate) fn environment(start: &Start, user: &User) -> Vec<(String, String)> {
    let mut env = start.spec.env.clone();
    let mut default = |key: &str, value: &str| {
        if !env.iter().any(|(name, _)| name == key) {
            env.push((key.to_owned(), value.to_owned()));
        }
    };
    default("PATH", DEFAULT_PATH);
    default("HOME", &user.home);
    if start.spec.tty {
        default("TERM", "xterm");
    }
    env
}

/// The working directory of a container.
pub(crate) fn working_dir(start: &Start) -> &str {
    [&start.spec.working_dir, &start.image_working_dir]
        .into_iter()
        .find(|dir| !dir.is_empty())
        .map_or("/", |dir| dir)
}

/// The document.
pub(crate) fn document(start: &Start, around: &Surroundings<'_>) -> Value {
    let security = &start.spec.security;
    let mut namespaces = vec![json!({ "type": "mount" })];
    match &around.pids {
        PidNamespace::Own => namespaces.push(json!({ "type": "pid" })),
        PidNamespace::Shared(path) => namespaces.push(json!({ "type": "pid", "path": path })),
        PidNamespace::Node => {}
    }
    if around.unified_cgroups && !security.privileged {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    let mut resources = oci_resources(&start.spec.resources, around.unified_cgroups);
    resources["devices"] = json!([{ "allow": security.privileged, "access": "rwm" }]);
    let mut linux = json!({
        "cgroupsPath": format!("/{}", around.cgroup),
        "resources": resources,
        "namespaces": namespaces,
        "maskedPaths": [],
        "readonlyPaths": [],
        "rootfsPropagation": propagation(&start.spec.mounts),
    });
    if security.privileged {
        linux["devices"] = Value::Array(around.devices.clone());
    } else {
        linux["maskedPaths"] = json!(MASKED_PATHS);
        linux["readonlyPaths"] = json!(READONLY_PATHS);
    }
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": around.root, "readonly": security.read_only_root },
        "process": process(&start.spec.args, start.spec.tty, &environment(start, around.user), working_dir(start), around, security),
        "mounts": mounts(start, around),
        "linux": linux,
    })
}

/// The process section: also that of a process started later in the same container.
pub(crate) fn process(
    args: &[String],
    tty: bool,
    env: &[(String, String)],
    cwd: &str,
    around: &Surroundings<'_>,
    security: &Security,
) -> Value {
    let capabilities: Vec<String> = capabilities(security, around.capabilities_held);
    json!({
        "terminal": tty,
        "user": { "uid": around.user.uid, "gid": around.user.gid, "additionalGids": around.user.groups },
        "args": args,
        "env": env.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        "cwd": cwd,
        "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        "noNewPrivileges": security.no_new_privileges,
    })
}

fn capabilities(security: &Security, held: u64) -> Vec<String> {
    let names = |list: &[String]| -> Vec<String> {
        list.iter()
            .map(|name| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned())
            .collect()
    };
    let (add, drop) = (names(&security.capabilities_add), names(&security.capabilities_drop));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let wanted = |name: &&str| {
        if security.privileged {
            return true;
        }
        let listed = |list: &[String]| list.iter().any(|entry| entry == name);
        let by_default = DEFAULT_CAPABILITIES.contains(name) && !all(&drop);
        (by_default || all(&add)) && !listed(&drop) || listed(&add)
    };
    ALL_CAPABILITIES
        .into_iter()
        .enumerate()
        .filter(|(number, name)| held & (1 << number) != 0 && wanted(name))
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

fn mounts(start: &Start, around: &Surroundings<'_>) -> Vec<Value> {
    let privileged = start.spec.security.privileged;
    let sys_access = if privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", sys_access] }),
        json!({ "destination": "/dev/shm", "type": "bind", "source": around.shm, "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev"] }),
    ];
    if around.unified_cgroups {
        mounts.push(
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                            "options": ["nosuid", "noexec", "nodev", "relatime", sys_access] }),
        );
    }
    mounts.extend(start.spec.mounts.iter().map(|mount| {
        let propagation = match mount.propagation.as_str() {
            "HostToContainer" => "rslave",
            "Bidirectional" => "rshared",
            _ => "rprivate",
        };
        let access = if mount.read_only { "ro" } else { "rw" };
        json!({ "destination": mount.target, "type": "bind", "source": mount.source, "options": ["rbind", propagation, access] })
    }));
    // What the pod mounts over a default replaces it.
    let replaced: Vec<&Path> = start.spec.mounts.iter().map(|mount| mount.target.as_path()).collect();
    let mut index = 0;
    let defaults = mounts.len() - replaced.len();
    mounts.retain(|mount| {
        index += 1;
        let target = mount["destination"].as_str().map(Path::new);
        index > defaults
            || target == Some(Path::new("/dev"))
            || !target.is_some_and(|target| replaced.contains(&target))
    });
    mounts
}

/// How mounts travel at the root of a container: what is mounted in it must reach the node where a volume says so.
fn propagation(mounts: &[Mount]) -> &'static str {
    if mounts.iter().any(|mount| mount.propagation == "Bidirectional") {
        "shared"
    } else {
        "slave"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_capabilities(add: &[&str], drop: &[&str], privileged: bool, held: u64, expected: &[&str]) {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security {
            privileged,
            capabilities_add: list(add),
            capabilities_drop: list(drop),
            ..Security::default()
        };
        assert_eq!(capabilities(&security, held), expected, "add {add:?} drop {drop:?}");
    }

    #[test]
    fn capabilities_are_dropped_before_they_are_added() {
        let held = u64::MAX;
        check_capabilities(&["NET_ADMIN"], &["ALL"], false, held, &["CAP_NET_ADMIN"]);
        check_capabilities(
            &["CAP_SYS_TIME", "KILL"],
            &["ALL"],
            false,
            held,
            &["CAP_KILL", "CAP_SYS_TIME"],
        );
        let mut without_chown: Vec<String> = capabilities(&Security::default(), held);
        assert_eq!(without_chown.len(), DEFAULT_CAPABILITIES.len());
        without_chown.retain(|name| name != "CAP_CHOWN");
        let expected: Vec<&str> = without_chown.iter().map(String::as_str).collect();
        check_capabilities(&[], &["CHOWN"], false, held, &expected);
    }

    #[test]
    fn nobody_gets_what_the_shim_does_not_have() {
        check_capabilities(&["ALL"], &[], false, 0b101, &["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]);
        check_capabilities(&[], &[], true, 1 << 40, &["CAP_CHECKPOINT_RESTORE"]);
    }
}
