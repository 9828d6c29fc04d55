//! What a pod's sandbox needs, and the files of a pod for `/etc`.
//!
//! Source: `spec/node-and-pod.md` §19; kubernetes `pkg/kubelet/kubelet_pods.go`, `network/dns/dns.go`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use rota_api::k8s::api::core::v1::{Pod, PodSpec};
use rota_podlife::admission;
use rota_podlife::restart::{Role, containers};

use crate::context::Context;
use crate::runtime::{PortMapping, Resources, SandboxSpec};

/// Whom the node asks for names, and where systemd-resolved says whom it asks itself. Source: kubeadm's default of the
/// kubelet's `resolvConf`.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BEHIND: &str = "/run/systemd/resolve/resolv.conf";

/// Longest host name.
const HOSTNAME_MAX: usize = 63;

/// The sandbox of a pod.
pub(crate) fn sandbox_spec(context: &Context, pod: &Pod, attempt: u32) -> SandboxSpec {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let security = spec.security_context.as_ref();
    SandboxSpec {
        pod_uid: text(&pod.metadata.uid),
        pod_namespace: text(&pod.metadata.namespace),
        pod_name: text(&pod.metadata.name),
        attempt,
        hostname: hostname(context, pod),
        host_network: spec.host_network == Some(true),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        share_process_namespace: spec.share_process_namespace == Some(true),
        port_mappings: if spec.host_network == Some(true) {
            Vec::new()
        } else {
            port_mappings(spec)
        },
        sysctls: security
            .and_then(|s| s.sysctls.as_ref())
            .map(|all| all.iter().map(|s| (s.name.clone(), s.value.clone())).collect())
            .unwrap_or_default(),
        resources: resources(spec),
    }
}

/// What the pod's containers together get and may use.
fn resources(spec: &PodSpec) -> Resources {
    let (requests, limits) = (admission::requests(spec), admission::limits(spec));
    let positive = |amount: i128| u64::try_from(amount).ok().filter(|amount| *amount > 0);
    let of = |amounts: &admission::Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
    Resources {
        cpu_request_millis: positive(of(&requests, "cpu")).unwrap_or(0),
        cpu_limit_millis: positive(of(&limits, "cpu")),
        memory_limit_bytes: positive(of(&limits, "memory") / 1000),
        ..Resources::default()
    }
}

/// The host name inside a pod.
pub(crate) fn hostname(context: &Context, pod: &Pod) -> String {
    match pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true)) {
        true => context.config.node.name.clone(),
        false => Names::of(pod, &context.config.cluster_domain).hostname(pod),
    }
}

/// What a pod that is not the node's own network is called.
struct Names {
    host: String,
    /// What follows the host in its full name, where it has one.
    domain: Option<String>,
}

impl Names {
    fn of(pod: &Pod, cluster_domain: &str) -> Self {
        let spec = pod.spec.as_ref();
        let set = |name: &'_ Option<String>| name.clone().filter(|name| !name.is_empty());
        if let Some(name) = spec.and_then(|s| set(&s.hostname_override)) {
            let (host, domain) = (cut(&name), None);
            return Self { host, domain };
        }
        let name = spec
            .and_then(|s| set(&s.hostname))
            .or_else(|| pod.metadata.name.clone())
            .unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let subdomain = spec.and_then(|s| set(&s.subdomain));
        Self {
            host: cut(&name),
            domain: subdomain.map(|subdomain| format!("{subdomain}.{namespace}.svc.{cluster_domain}")),
        }
    }

    /// What the kernel tells the containers; it refuses a full name that is too long.
    fn hostname(self, pod: &Pod) -> String {
        let wants_full = pod.spec.as_ref().and_then(|s| s.set_hostname_as_fqdn) == Some(true);
        match self.domain.filter(|_| wants_full) {
            Some(domain) => format!("{}.{domain}", self.host),
            None => self.host,
        }
    }
}

fn cut(name: &str) -> String {
    let cut: String = name.chars().take(HOSTNAME_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    let ports = containers(spec)
        .filter(|(role, _)| *role != Role::Init)
        .flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(PortMapping {
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: u16::try_from(port.host_port?).ok().filter(|port| *port != 0)?,
                container_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

/// Writes the pod's own `hosts`, `hostname` and `resolv.conf` into `directory`.
///
/// Errors: the disk failed.
pub(crate) fn write_etc(context: &Context, pod: &Pod, pod_ips: &[IpAddr], directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let hostname = hostname(context, pod);
    let is_host_network = pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true));
    let hosts = if is_host_network {
        let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        hosts.push_str(&aliases(pod));
        hosts
    } else {
        hosts(pod, pod_ips, &context.config.cluster_domain)
    };
    fs::write(directory.join("hosts"), hosts)?;
    fs::write(directory.join("hostname"), format!("{hostname}\n"))?;
    let resolver = Resolver::of(
        pod,
        &context.config.cluster_dns,
        &context.config.cluster_domain,
        &Resolver::of_node(|path| fs::read_to_string(path).unwrap_or_default()),
    );
    fs::write(directory.join("resolv.conf"), resolver.to_string())
}

fn hosts(pod: &Pod, pod_ips: &[IpAddr], cluster_domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let Names { host, domain } = Names::of(pod, cluster_domain);
    for ip in pod_ips {
        match &domain {
            Some(domain) => text.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
            None => text.push_str(&format!("{ip}\t{host}\n")),
        }
    }
    text.push_str(&aliases(pod));
    text
}

fn aliases(pod: &Pod) -> String {
    let aliases = pod.spec.iter().flat_map(|s| s.host_aliases.iter().flatten());
    let lines: Vec<String> = aliases
        .map(|alias| {
            format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.as_deref().unwrap_or_default().join("\t")
            )
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\n# Entries added by HostAliases.\n{}", lines.concat())
}

/// A `resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// The node's. Where that asks a server on the node's loopback address, which no pod reaches, it is the one that
    /// systemd-resolved keeps with the servers behind it.
    fn of_node(read: impl Fn(&str) -> String) -> Self {
        let own = Self::parse(&read(RESOLV_CONF));
        let is_local = |server: &String| server.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if own.nameservers.is_empty() || !own.nameservers.iter().all(is_local) {
            return own;
        }
        let behind = Self::parse(&read(RESOLV_CONF_BEHIND));
        if behind.nameservers.is_empty() { own } else { behind }
    }

    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => resolver.nameservers.extend(words),
                Some("search") => resolver.searches = words.collect(),
                Some("options") => resolver.options.extend(words),
                Some(_) | None => {}
            }
        }
        resolver
    }

    /// What the pod's `dnsPolicy` and `dnsConfig` ask for. Without a DNS server of the cluster, its policy is the node's.
    fn of(pod: &Pod, cluster_dns: &[IpAddr], domain: &str, node: &Self) -> Self {
        let spec = pod.spec.as_ref();
        let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
        let is_host_network = spec.is_some_and(|s| s.host_network == Some(true));
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let is_cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !is_host_network);
        let mut resolver = match policy {
            "None" => Self::default(),
            _ if is_cluster && !cluster_dns.is_empty() => {
                let mut searches = vec![
                    format!("{namespace}.svc.{domain}"),
                    format!("svc.{domain}"),
                    domain.to_owned(),
                ];
                searches.extend(node.searches.clone());
                Self {
                    nameservers: cluster_dns.iter().map(ToString::to_string).collect(),
                    searches,
                    options: vec!["ndots:5".to_owned()],
                }
            }
            _ => node.clone(),
        };
        if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
            add_new(&mut resolver.nameservers, config.nameservers.iter().flatten().cloned());
            add_new(&mut resolver.searches, config.searches.iter().flatten().cloned());
            for option in config.options.iter().flatten() {
                let Some(name) = &option.name else { continue };
                // An option of the pod takes the place of one of the same name.
                resolver
                    .options
                    .retain(|known| known.split(':').next() != Some(name.as_str()));
                let value = option
                    .value
                    .as_deref()
                    .map(|value| format!(":{value}"))
                    .unwrap_or_default();
                resolver.options.push(format!("{name}{value}"));
            }
        }
        resolver
    }
}

fn add_new(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, cluster_dns: &[IpAddr], expected: &str) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "ns"}, "spec": spec})).unwrap();
        let node = Resolver::parse("search lan\nnameserver 1.1.1.1\noptions edns0\n");
        assert_eq!(
            Resolver::of(&pod, cluster_dns, "cluster.local", &node).to_string(),
            expected,
            "{spec}"
        );
    }

    #[test]
    fn names_are_resolved_as_the_policy_says() {
        let dns = [IpAddr::from([10, 43, 0, 10])];
        let node = "search lan\nnameserver 1.1.1.1\noptions edns0\n";
        let cluster =
            "search ns.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions ndots:5\n";
        check(json!({}), &dns, cluster);
        check(json!({"hostNetwork": true}), &dns, node);
        check(
            json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
            &dns,
            cluster,
        );
        check(json!({"dnsPolicy": "Default"}), &dns, node);
        check(json!({}), &[], node);
        check(
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}}),
            &dns,
            "nameserver 9.9.9.9\noptions ndots:2\n",
        );
    }

    #[test]
    fn a_resolver_that_only_the_node_reaches_is_passed_over() {
        let check = |own: &str, behind: &str, expected: &str| {
            let read = |path: &str| if path == RESOLV_CONF { own } else { behind }.to_owned();
            assert_eq!(Resolver::of_node(read).to_string(), expected, "{own} {behind}");
        };
        let (stub, behind) = (
            "nameserver 127.0.0.53\noptions edns0\n",
            "search lan\nnameserver 9.9.9.9\n",
        );
        check(stub, behind, behind);
        check(stub, "", stub);
        check("nameserver 1.1.1.1\n", behind, "nameserver 1.1.1.1\n");
        check("", behind, "");
    }

    #[test]
    fn a_pod_weighs_what_its_containers_ask_for_together() {
        let spec = json!({"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Ki"}}},
            {"name": "b", "resources": {"requests": {"cpu": "500m"}}},
        ]});
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
        let of_pod = resources(&spec);
        assert_eq!((of_pod.cpu_request_millis, of_pod.memory_limit_bytes), (2000, None));
        spec.resources = serde_json::from_value(json!({"limits": {"cpu": "200m", "memory": "30Mi"}})).unwrap();
        let of_pod = resources(&spec);
        assert_eq!(
            (of_pod.cpu_limit_millis, of_pod.memory_limit_bytes),
            (Some(200), Some(30 << 20))
        );
    }

    fn check_names(spec: Value, hostname: &str, line: &str) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": spec})).unwrap();
        let names = Names::of(&pod, "cluster.local");
        assert_eq!(names.hostname(&pod), hostname, "{spec}");
        let text = hosts(&pod, &[IpAddr::from([10, 42, 0, 5])], "cluster.local");
        assert!(text.ends_with(&format!("\n10.42.0.5\t{line}\n")), "{spec}: {text}");
    }

    #[test]
    fn a_pod_is_called_as_its_spec_says() {
        check_names(json!({}), "p", "p");
        check_names(json!({"hostname": "h"}), "h", "h");
        check_names(
            json!({"hostname": "h", "subdomain": "s"}),
            "h",
            "h.s.ns.svc.cluster.local\th",
        );
        check_names(
            json!({"subdomain": "s", "setHostnameAsFQDN": true}),
            "p.s.ns.svc.cluster.local",
            "p.s.ns.svc.cluster.local\tp",
        );
        check_names(json!({"setHostnameAsFQDN": true}), "p", "p");
        check_names(
            json!({"hostname": "h", "subdomain": "s", "hostnameOverride": "o.example"}),
            "o.example",
            "o.example",
        );
        check_names(
            json!({"hostname": format!("{}-x", "a".repeat(62))}),
            &"a".repeat(62),
            &"a".repeat(62),
        );
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_its_aliases() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"namespace": "ns", "name": "h"}, "spec": {"containers": [], "subdomain": "s",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}),
        )
        .unwrap();
        let text = hosts(&pod, &[IpAddr::from([10, 42, 0, 5])], "cluster.local");
        assert!(text.contains("\n10.42.0.5\th.s.ns.svc.cluster.local\th\n"), "{text}");
        assert!(text.ends_with("\n1.2.3.4\ta\tb\n"), "{text}");
    }
}
