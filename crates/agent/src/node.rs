//! The Node and Lease objects that stand for a node in the cluster.
//!
//! Pure builders: what a node is called, can hold and says about itself goes in, objects and patches come out. When they
//! are written is decided in `registration` (one real node) and `simulated` (many nodes that do not exist).
//!
//! Source: `spec/node-and-pod.md` §1–2; kubernetes `pkg/kubelet/kubelet_node_status.go`, `nodestatus/setters.go`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rota_api::{Timestamp, Write, resource};
use serde_json::{Value, json};

/// The namespace that holds the Leases of nodes.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// How long a Lease holds without being renewed.
pub const LEASE_DURATION: Duration = Duration::from_secs(40);

/// How often a Lease is renewed: a quarter of its duration.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(10);

/// How often a node reports its status although nothing about it changed.
pub const STATUS_REPORT: Duration = Duration::from_secs(300);

/// The release of Kubernetes whose node agent this one behaves as; tools compare it with the server.
const KUBELET_VERSION: &str = "v1.36.2";

/// A taint a node registers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The key, such as `node-role.kubernetes.io/control-plane`.
    pub key: String,
    /// The value; mostly empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What a node offers to pods, as quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processor time in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk space for pods, in bytes.
    pub storage_bytes: u64,
    /// Most pods at a time.
    pub pods: u32,
    /// Resources beyond the built-in ones, such as `example.com/gpu`, as quantities.
    pub extended: BTreeMap<String, String>,
}

impl Capacity {
    fn to_value(&self) -> Value {
        let mut value = json!({
            "cpu": if self.cpu_millis.is_multiple_of(1000) { (self.cpu_millis / 1000).to_string() } else { format!("{}m", self.cpu_millis) },
            "memory": format!("{}Ki", self.memory_bytes / 1024),
            "ephemeral-storage": format!("{}Ki", self.storage_bytes / 1024),
            "pods": self.pods.to_string(),
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
        });
        for (name, quantity) in &self.extended {
            value[name] = quantity.as_str().into();
        }
        value
    }
}

/// What a node says about the machine it is on: `status.nodeInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The firmware's id of the machine.
    pub system_uuid: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Such as `6.8.0`.
    pub kernel_version: String,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// Such as `rota://0.1.0`.
    pub runtime_version: String,
    /// `amd64`, `arm64`, ….
    pub architecture: String,
}

/// Everything a Node object says.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Its name; also its host name.
    pub name: String,
    /// Labels beyond the ones every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints it registers with.
    pub taints: Vec<Taint>,
    /// Its own addresses, preferred one first.
    pub addresses: Vec<IpAddr>,
    /// The addresses its pods are given, such as `10.42.0.0/24`; empty where none are set apart.
    pub pod_cidr: String,
    /// What it offers.
    pub capacity: Capacity,
    /// The machine it is on.
    pub machine: Machine,
    /// The port of the agent's own server; 0 where it has none.
    pub port: u16,
}

/// Whether a node can run pods: its `Ready` condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, and why.
    NotReady(String),
}

impl NodeFacts {
    /// The labels of the Node: those that every node has, and its own.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
            labels.insert(format!("{prefix}/os"), "linux".to_owned());
            labels.insert(format!("{prefix}/arch"), self.machine.architecture.clone());
        }
        labels.insert("kubernetes.io/hostname".to_owned(), self.name.clone());
        labels.extend(self.labels.clone());
        labels
    }

    /// The object to register with.
    pub fn object(&self, readiness: &Readiness, now: Timestamp) -> Value {
        let mut spec = json!({});
        if !self.pod_cidr.is_empty() {
            spec["podCIDR"] = self.pod_cidr.as_str().into();
            spec["podCIDRs"] = json!([self.pod_cidr]);
        }
        if !self.taints.is_empty() {
            let taints = self.taints.iter().map(|taint| {
                let mut value = json!({"key": taint.key, "effect": taint.effect});
                if !taint.value.is_empty() {
                    value["value"] = taint.value.as_str().into();
                }
                value
            });
            spec["taints"] = taints.collect();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.all_labels()},
            "spec": spec,
            "status": self.status(readiness, None, now),
        })
    }

    /// The status to report. Conditions that are as in `old`, the status reported before, keep their transition time.
    pub fn status(&self, readiness: &Readiness, old: Option<&Value>, now: Timestamp) -> Value {
        let mut addresses: Vec<Value> = self
            .addresses
            .iter()
            .map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}))
            .collect();
        addresses.push(json!({"type": "Hostname", "address": self.name}));
        let capacity = self.capacity.to_value();
        let mut status = json!({
            "addresses": addresses,
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions(readiness, old, now),
            "nodeInfo": {
                "machineID": self.machine.machine_id,
                "systemUUID": self.machine.system_uuid,
                "bootID": self.machine.boot_id,
                "kernelVersion": self.machine.kernel_version,
                "osImage": self.machine.os_image,
                "containerRuntimeVersion": self.machine.runtime_version,
                "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": self.machine.architecture,
            },
        });
        if self.port != 0 {
            status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": self.port}});
        }
        status
    }

    /// True when `status`, which the cluster has, says what this node says, whenever it was said. What others added to
    /// the status stays theirs.
    pub fn is_told(&self, readiness: &Readiness, status: &Value) -> bool {
        let own = self.status(readiness, Some(status), Timestamp::UNIX_EPOCH);
        let fields = own.as_object().into_iter().flatten();
        fields.into_iter().all(|(name, own)| match name.as_str() {
            "conditions" => own
                .as_array()
                .into_iter()
                .flatten()
                .all(|own| has_condition(status, own)),
            "addresses" => status[name] == *own,
            _ => is_within(own, &status[name]),
        })
    }

    /// Renews or creates the Lease. `owner` is the uid of the Node.
    pub fn lease(&self, owner: &str, now: Timestamp) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self.name,
                "namespace": LEASE_NAMESPACE,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": owner}],
            },
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": LEASE_DURATION.as_secs(),
                "renewTime": micro_time(now),
            },
        })
    }
}

fn has_condition(status: &Value, own: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let words = ["type", "status", "reason", "message"];
    let mut conditions = conditions.filter(|known| words.iter().all(|word| known[*word] == own[*word]));
    conditions.next().is_some()
}

/// True when every field of `own` is in `known`; an empty text may be left out there.
fn is_within(own: &Value, known: &Value) -> bool {
    match own {
        Value::Object(fields) => fields.iter().all(|(name, own)| is_within(own, &known[name])),
        Value::String(text) if text.is_empty() => known.as_str().unwrap_or_default().is_empty(),
        own => own == known,
    }
}

/// The write that renews the Lease of `node`.
pub fn renewal(node: &str, now: Timestamp) -> Write {
    let patch = json!({"spec": {"holderIdentity": node, "leaseDurationSeconds": LEASE_DURATION.as_secs(), "renewTime": micro_time(now)}});
    Write::merge(resource::LEASES, LEASE_NAMESPACE, node, patch)
}

fn conditions(readiness: &Readiness, old: Option<&Value>, now: Timestamp) -> Value {
    let (ready, reason, message) = match readiness {
        Readiness::Ready => ("True", "KubeletReady", "kubelet is posting ready status"),
        Readiness::NotReady(why) => ("False", "KubeletNotReady", why.as_str()),
    };
    let healthy = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready", ready, reason, message),
    ];
    let before = |kind: &str, status: &str| {
        old.and_then(|old| old["conditions"].as_array())
            .and_then(|all| all.iter().find(|c| c["type"] == kind && c["status"] == status))
            .map(|c| c["lastTransitionTime"].clone())
    };
    healthy
        .iter()
        .map(|(kind, status, reason, message)| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": seconds(now),
                "lastTransitionTime": before(kind, status).unwrap_or_else(|| seconds(now).into()),
            })
        })
        .collect()
}

/// A time as objects carry it: RFC 3339 in whole seconds.
pub(crate) fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A time as Leases and Events carry it: RFC 3339 with six digits behind the second.
pub(crate) fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> NodeFacts {
        NodeFacts {
            name: "n1".to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            taints: vec![Taint {
                key: "k".to_owned(),
                value: String::new(),
                effect: "NoSchedule".to_owned(),
            }],
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            pod_cidr: "10.42.0.0/24".to_owned(),
            capacity: Capacity {
                cpu_millis: 1500,
                memory_bytes: 1 << 30,
                storage_bytes: 1 << 30,
                pods: 110,
                extended: BTreeMap::new(),
            },
            machine: Machine {
                architecture: "amd64".to_owned(),
                ..Machine::default()
            },
            port: 0,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 999_999_999).unwrap()
    }

    #[test]
    fn a_node_carries_the_labels_tools_select_by() {
        let node = facts().object(&Readiness::NotReady("starting".to_owned()), at(0));
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
        assert_eq!(node["metadata"]["labels"]["beta.kubernetes.io/arch"], "amd64");
        assert_eq!(node["metadata"]["labels"]["zone"], "a");
        assert_eq!(node["spec"]["taints"], json!([{"key": "k", "effect": "NoSchedule"}]));
        assert_eq!(node["status"]["capacity"]["cpu"], "1500m");
        assert_eq!(node["status"]["conditions"][3]["message"], "starting");
    }

    #[test]
    fn a_condition_that_stays_keeps_its_transition_time_and_one_that_changes_does_not() {
        let facts = facts();
        let first = facts.status(&Readiness::NotReady("starting".to_owned()), None, at(0));
        let second = facts.status(&Readiness::Ready, Some(&first), at(60));
        assert_eq!(second["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(second["conditions"][0]["lastHeartbeatTime"], "1970-01-01T00:01:00Z");
        assert_eq!(second["conditions"][3]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    }

    #[test]
    fn a_status_is_told_until_somebody_contradicts_it() {
        let facts = facts();
        let mut status = facts.status(&Readiness::Ready, None, at(0));
        assert!(facts.is_told(&Readiness::Ready, &status));
        assert!(!facts.is_told(&Readiness::NotReady("starting".to_owned()), &status));
        // What others say besides is theirs.
        status["capacity"]["example.com/dongle"] = "4".into();
        status["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "NetworkUnavailable", "status": "False"}));
        assert!(facts.is_told(&Readiness::Ready, &status));
        let mut unknown = status.clone();
        unknown["conditions"][3]["status"] = "Unknown".into();
        assert!(!facts.is_told(&Readiness::Ready, &unknown));
        status["capacity"]["cpu"] = "64".into();
        assert!(!facts.is_told(&Readiness::Ready, &status));
    }

    #[test]
    fn a_lease_is_renewed_in_microseconds() {
        assert_eq!(
            facts().lease("u", at(1))["spec"]["renewTime"],
            "1970-01-01T00:00:01.999999Z"
        );
    }
}
