//! The cgroup of a pod and what is read from those of its containers.
//!
//! Decides where a pod's group lies in each hierarchy and how its limits are written on cgroup v1, v2 and the hybrid
//! of both. The containers' own groups below it are made by libcontainer. Limits the kernel refuses are an error;
//! controllers the host does not have are skipped, because a machine without them can still run work.
//! Source: kubernetes `pkg/kubelet/cm/pod_container_manager_linux.go`, kernel `Documentation/admin-guide/cgroup-v2.rst`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::runtime::Resources;

/// Period of the processor quota, in microseconds.
const CPU_PERIOD_MICROS: u64 = 100_000;
/// Smallest quota the kernel takes, in microseconds.
const CPU_QUOTA_MICROS_MIN: u64 = 1_000;
/// Smallest weight on v1.
const CPU_SHARES_MIN: u64 = 2;
/// Largest weight on v1.
const CPU_SHARES_MAX: u64 = 262_144;
/// How often the removal of a group is tried while its last processes are being reaped: for 10 s.
const REMOVE_TRIES_MAX: u32 = 200;
/// The same where others wait for whoever tries: for 50 ms.
const REMOVE_TRIES_IN_PASSING: u32 = 8;

/// One mounted hierarchy.
#[derive(Clone, Debug)]
struct Hierarchy {
    root: PathBuf,
    controllers: Vec<String>,
    unified: bool,
}

/// The hierarchies of this host.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Reads which hierarchies are mounted.
    pub(super) fn of_host() -> io::Result<Self> {
        Ok(Self::from_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn from_mountinfo(mountinfo: &str) -> Self {
        let mut hierarchies = Vec::new();
        for line in mountinfo.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else {
                continue;
            };
            let Some(root) = mount
                .split(' ')
                .nth(4)
                .filter(|path| path.starts_with("/sys/fs/cgroup"))
            else {
                continue;
            };
            let mut fields = filesystem.split(' ');
            let unified = match fields.next() {
                Some("cgroup") => false,
                Some("cgroup2") => true,
                _ => continue,
            };
            let options = fields.nth(1).unwrap_or_default();
            let controllers = options
                .split(',')
                .filter(|option| *option != "rw")
                .map(str::to_owned)
                .collect();
            hierarchies.push(Hierarchy {
                root: PathBuf::from(root),
                controllers,
                unified,
            });
        }
        // In the hybrid layout the unified hierarchy has no controllers and libcontainer leaves it alone; so do we.
        if hierarchies.iter().any(|hierarchy| !hierarchy.unified) {
            hierarchies.retain(|hierarchy| {
                !hierarchy.unified && !hierarchy.controllers.iter().any(|c| c.starts_with("name="))
            });
        }
        Self { hierarchies }
    }

    /// Whether limits are written the v2 way.
    pub(super) fn is_unified(&self) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.unified)
    }

    /// Makes a group and sets the limits of the pod as a whole.
    pub(super) fn create(&self, group: &str, limits: &Resources) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            let has = |controller: &str| hierarchy.controllers.iter().any(|c| c == controller);
            if !hierarchy.unified && !["cpu", "memory", "pids"].into_iter().any(has) {
                continue;
            }
            if hierarchy.unified {
                enable_controllers(&hierarchy.root, group)?;
            }
            let dir = hierarchy.root.join(group);
            fs::create_dir_all(&dir)?;
            let writes = if hierarchy.unified {
                v2_limits(limits)
            } else {
                v1_limits(limits)
            };
            for (file, value) in writes {
                let path = dir.join(file);
                // A file that is not there belongs to a controller this hierarchy does not have.
                if path.exists() {
                    fs::write(&path, &value)
                        .map_err(|e| annotate(&e, format_args!("writing {value} to {}", path.display())))?;
                }
            }
        }
        Ok(())
    }

    /// Moves a process into a group, making it where it is missing. Hierarchies that refuse are left as they are.
    pub(super) fn join(&self, group: &str, pid: u32) {
        for hierarchy in &self.hierarchies {
            // A v1 cpuset must be filled before it takes tasks; limits on it are not ours to set.
            if hierarchy.controllers.iter().any(|c| c == "cpuset") && !hierarchy.unified {
                continue;
            }
            let dir = hierarchy.root.join(group);
            if fs::create_dir_all(&dir).is_ok() {
                let _ = fs::write(dir.join("cgroup.procs"), pid.to_string());
            }
        }
    }

    /// Kills every process in a group and below it.
    pub(super) fn kill(&self, group: &str) {
        for hierarchy in &self.hierarchies {
            kill_tree(&hierarchy.root.join(group));
        }
    }

    /// Removes a group and those below it; their processes must be dead or dying.
    ///
    /// Errors: a process will not die.
    pub(super) fn remove(&self, group: &str) -> io::Result<()> {
        self.try_remove(group, REMOVE_TRIES_MAX)
    }

    /// The same, if it can be done soon: what is left goes with the group above it.
    pub(super) fn remove_in_passing(&self, group: &str) {
        let _ = self.try_remove(group, REMOVE_TRIES_IN_PASSING);
    }

    fn try_remove(&self, group: &str, tries_max: u32) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            remove_tree(&hierarchy.root.join(group), tries_max)?;
        }
        Ok(())
    }

    /// How many processes of a group the kernel killed for want of memory.
    pub(super) fn oom_kills(&self, group: &str) -> u64 {
        let file = if self.is_unified() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.unified || hierarchy.controllers.iter().any(|c| c == "memory"))
            .filter_map(|hierarchy| fs::read_to_string(hierarchy.root.join(group).join(file)).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok())
                    .collect::<Vec<_>>()
            })
            .sum()
    }
}

/// Limits of a container as libcontainer takes them (`linux.resources` of the OCI runtime document).
pub(crate) fn oci_resources(limits: &Resources, unified: bool) -> serde_json::Value {
    let mut cpu = serde_json::json!({ "shares": cpu_shares(limits.cpu_request_millis) });
    if let Some(millis) = limits.cpu_limit_millis {
        cpu["quota"] = cpu_quota_micros(millis).into();
        cpu["period"] = CPU_PERIOD_MICROS.into();
    }
    let mut resources = serde_json::json!({ "cpu": cpu });
    if let Some(bytes) = limits.memory_limit_bytes {
        resources["memory"] = serde_json::json!({ "limit": bytes });
    }
    if let Some(pids) = limits.pids_max {
        resources["pids"] = serde_json::json!({ "limit": pids });
    }
    if unified && limits.memory_limit_bytes.is_some() {
        // The whole container dies, not one process of it, as on a stock node.
        resources["unified"] = serde_json::json!({ "memory.oom.group": "1" });
    }
    resources
}

fn cpu_shares(request_millis: u64) -> u64 {
    (request_millis.saturating_mul(1024) / 1000).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

fn cpu_quota_micros(limit_millis: u64) -> u64 {
    (limit_millis.saturating_mul(CPU_PERIOD_MICROS) / 1000).max(CPU_QUOTA_MICROS_MIN)
}

fn v1_limits(limits: &Resources) -> Vec<(&'static str, String)> {
    let mut writes = vec![("cpu.shares", cpu_shares(limits.cpu_request_millis).to_string())];
    if let Some(millis) = limits.cpu_limit_millis {
        writes.push(("cpu.cfs_period_us", CPU_PERIOD_MICROS.to_string()));
        writes.push(("cpu.cfs_quota_us", cpu_quota_micros(millis).to_string()));
    }
    writes.extend(
        limits
            .memory_limit_bytes
            .map(|bytes| ("memory.limit_in_bytes", bytes.to_string())),
    );
    writes.extend(limits.pids_max.map(|pids| ("pids.max", pids.to_string())));
    writes
}

fn v2_limits(limits: &Resources) -> Vec<(&'static str, String)> {
    // The kernel's and runc's mapping of 2..262144 shares onto 1..10000.
    let weight =
        1 + (cpu_shares(limits.cpu_request_millis) - CPU_SHARES_MIN) * 9_999 / (CPU_SHARES_MAX - CPU_SHARES_MIN);
    let mut writes = vec![("cpu.weight", weight.to_string())];
    writes.extend(
        limits
            .cpu_limit_millis
            .map(|millis| ("cpu.max", format!("{} {CPU_PERIOD_MICROS}", cpu_quota_micros(millis)))),
    );
    writes.extend(limits.memory_limit_bytes.map(|bytes| ("memory.max", bytes.to_string())));
    writes.extend(limits.pids_max.map(|pids| ("pids.max", pids.to_string())));
    writes
}

/// Lets the groups on the way to `group` hand their controllers down (v2 only).
fn enable_controllers(root: &Path, group: &str) -> io::Result<()> {
    let mut dir = root.to_owned();
    for component in Path::new(group).components() {
        fs::create_dir_all(&dir)?;
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            // One that cannot be handed down (a threaded parent, a busy root) leaves that limit unenforced.
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        dir.push(component);
    }
    Ok(())
}

fn subgroups(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn kill_tree(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for subgroup in subgroups(dir) {
        kill_tree(&subgroup);
    }
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in procs
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter_map(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn remove_tree(dir: &Path, tries_max: u32) -> io::Result<()> {
    for subgroup in subgroups(dir) {
        remove_tree(&subgroup, tries_max)?;
    }
    for attempt in 0.. {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Dead processes stay until they are reaped, which nothing announces: this wait is short and bounded.
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && attempt < tries_max => {
                kill_tree(dir);
                std::thread::sleep(std::time::Duration::from_micros(200 << attempt.min(8)));
            }
            Err(e) => return Err(annotate(&e, format_args!("removing {}", dir.display()))),
        }
    }
    Ok(())
}

fn annotate(error: &io::Error, what: std::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_is_treated_as_v1() {
        let cgroups = Cgroups::from_mountinfo(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert!(!cgroups.is_unified());
        assert_eq!(cgroups.hierarchies.len(), 1);
        assert_eq!(cgroups.hierarchies[0].controllers, ["cpu", "cpuacct"]);
    }

    #[test]
    fn a_unified_host_is_treated_as_v2() {
        let cgroups =
            Cgroups::from_mountinfo("25 23 0:21 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(cgroups.is_unified());
    }

    #[test]
    fn limits_follow_the_kubelet() {
        let limits = Resources {
            cpu_request_millis: 250,
            cpu_limit_millis: Some(500),
            ..Resources::default()
        };
        assert_eq!(v1_limits(&limits)[0], ("cpu.shares", "256".to_owned()));
        assert_eq!(v2_limits(&limits)[1], ("cpu.max", "50000 100000".to_owned()));
        let tiny = Resources {
            cpu_limit_millis: Some(1),
            ..Resources::default()
        };
        assert_eq!(v1_limits(&tiny)[2], ("cpu.cfs_quota_us", "1000".to_owned()));
        assert_eq!(v2_limits(&tiny)[0], ("cpu.weight", "1".to_owned()));
    }
}
