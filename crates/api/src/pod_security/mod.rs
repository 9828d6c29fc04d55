//! The Pod Security levels: what a namespace's labels ask of its pods, and where a pod falls short of it.
//!
//! A namespace names a level for each of three modes: what is refused (`enforce`), what is remarked on (`warn`), what an audit
//! would note (`audit`). [`Policy`] reads the labels, [`violations`] judges a pod. Which objects hold pods and what becomes of
//! a verdict is decided by whoever asks.
//!
//! Source: `spec/api.md` §8; kubernetes `pod-security-admission/{api,policy}` at v1.36.

mod baseline;
mod restricted;
mod subject;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::{FieldError, FieldErrorKind};
use subject::Subject;

/// The minor version of Kubernetes whose rules are the latest.
const LATEST_MINOR: u32 = 36;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do; stricter levels are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// Nothing that is known to lead out of its containers.
    Baseline,
    /// Only what hardened pods need.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// As which version of Kubernetes a level is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1 with this minor.
    Minor(u32),
    /// The newest that is known.
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let is_plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
        is_plain.then(|| digits.parse().ok().map(Self::Minor)).flatten()
    }

    /// The rules in force: those of a later version than is known are the latest.
    fn minor(self) -> u32 {
        match self {
            Self::Minor(minor) => minor.min(LATEST_MINOR),
            Self::Latest => LATEST_MINOR,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// What one mode asks for. Its text is `baseline:latest` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The level.
    pub level: Level,
    /// The version of its rules.
    pub version: Version,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            level: Level::Privileged,
            version: Version::Latest,
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks of its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that do not meet this are refused.
    pub enforce: Demand,
    /// The authors of objects that do not meet this are told.
    pub warn: Demand,
}

impl Policy {
    /// Reads a namespace's labels. What cannot be read counts as the strictest where pods are refused, and as nothing where
    /// they are remarked on; the errors say so.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let enforce = demand(labels, "enforce", Level::Restricted, &mut errors);
        demand(labels, "audit", Level::Privileged, &mut errors);
        let mut warn = demand(labels, "warn", Level::Privileged, &mut errors);
        let label = |name: &str| labels.get(&format!("{PREFIX}{name}"));
        let is_readable = label("enforce").is_some_and(|level| Level::parse(level).is_some());
        if is_readable && label("warn").is_none() && enforce.level > warn.level {
            warn.level = enforce.level;
            if label("warn-version").is_none() {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, warn }, errors)
    }
}

/// What the labels of a mode say. `fallback` stands for an unreadable level.
fn demand(labels: &BTreeMap<String, String>, mode: &str, fallback: Level, errors: &mut Vec<FieldError>) -> Demand {
    let mut demand = Demand::default();
    let mut refuse = |label: &str, value: &str, detail: &str| {
        let path = format!("metadata.labels[{label}]");
        let value = json!(value);
        errors.push(FieldError::new(FieldErrorKind::Invalid, path, Some(&value), detail));
    };
    let label = format!("{PREFIX}{mode}");
    if let Some(text) = labels.get(&label) {
        demand.level = Level::parse(text).unwrap_or_else(|| {
            refuse(&label, text, "must be one of privileged, baseline, restricted");
            fallback
        });
    }
    let label = format!("{PREFIX}{mode}-version");
    if let Some(text) = labels.get(&label) {
        demand.version = Version::parse(text).unwrap_or_else(|| {
            refuse(&label, text, "must be \"latest\" or \"v1.x\"");
            Version::Latest
        });
    }
    demand
}

/// One thing about a pod that its level does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is, in few words: the same for all pods.
    pub reason: &'static str,
    /// Where in this pod.
    pub detail: String,
}

/// All that `demand` does not allow about a pod, or about a template of pods. `metadata` may be anything that has
/// annotations.
pub fn violations(demand: Demand, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let pod = Subject { metadata, spec };
    let minor = demand.version.minor();
    let restricted: Vec<&Check> = match demand.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => Vec::new(),
        Level::Restricted => restricted::CHECKS.iter().filter(|check| check.since <= minor).collect(),
    };
    let is_replaced = |check: &&Check| restricted.iter().any(|stricter| stricter.replaces == Some(check.id));
    baseline::CHECKS
        .iter()
        .filter(|check| check.since <= minor)
        .filter(|check| !is_replaced(check))
        .chain(restricted.iter().copied())
        .filter_map(|check| (check.find)(&pod, minor))
        .collect()
}

/// The violations as one sentence fragment, each with its detail.
pub fn describe(violations: &[Violation]) -> String {
    let described: Vec<String> = violations
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.to_owned(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    described.join(", ")
}

/// The reasons alone.
pub fn reasons(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason).collect();
    reasons.join(", ")
}

/// A rule of a level.
struct Check {
    /// Its name; within a level the checks stand in order of it, which is the order in which violations are told.
    id: &'static str,
    /// The minor version that has it first.
    since: u32,
    /// The weaker rule of the baseline that it stands in for.
    replaces: Option<&'static str>,
    /// Judges a pod by the rule as it is in a minor version.
    find: fn(&Subject<'_>, u32) -> Option<Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(mode, value)| (format!("{PREFIX}{mode}"), (*value).to_owned()))
            .collect()
    }

    fn policy(pairs: &[(&str, &str)]) -> String {
        let (policy, errors) = Policy::of_labels(&labels(pairs));
        format!("{} {} {}", policy.enforce, policy.warn, errors.len())
    }

    #[test]
    fn a_namespace_without_labels_asks_for_nothing() {
        assert_eq!(policy(&[]), "privileged:latest privileged:latest 0");
    }

    #[test]
    fn what_is_enforced_is_also_warned_of_unless_the_labels_say_otherwise() {
        assert_eq!(
            policy(&[("enforce", "baseline"), ("enforce-version", "v1.30")]),
            "baseline:v1.30 baseline:v1.30 0"
        );
        assert_eq!(
            policy(&[("enforce", "baseline"), ("warn-version", "v1.30")]),
            "baseline:latest baseline:v1.30 0"
        );
        assert_eq!(
            policy(&[("enforce", "baseline"), ("warn", "privileged")]),
            "baseline:latest privileged:latest 0"
        );
    }

    #[test]
    fn labels_that_cannot_be_read_refuse_strictly_and_warn_of_nothing() {
        assert_eq!(
            policy(&[("enforce", "base"), ("warn", "base"), ("audit-version", "1.30")]),
            "restricted:latest privileged:latest 3"
        );
        let (_, errors) = Policy::of_labels(&labels(&[("enforce-version", "v1.030")]));
        assert_eq!(
            errors[0].to_string(),
            "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"v1.030\": must be \"latest\" \
             or \"v1.x\""
        );
    }

    #[test]
    fn checks_stand_in_order_of_their_names() {
        for checks in [baseline::CHECKS, restricted::CHECKS] {
            assert!(checks.is_sorted_by_key(|check| check.id));
        }
    }

    fn demand(level: Level, version: Version) -> Demand {
        Demand { level, version }
    }

    /// What a level says of a pod whose spec is this.
    #[track_caller]
    fn check(level: Level, spec: &Value, expected: &str) {
        let found = violations(demand(level, Version::Latest), &json!({}), spec);
        assert_eq!(describe(&found), expected);
    }

    fn hardened(container: &Value) -> Value {
        let mut own = json!({"name": "c", "securityContext": {"allowPrivilegeEscalation": false,
            "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}});
        for (key, value) in container["securityContext"].as_object().into_iter().flatten() {
            own["securityContext"][key] = value.clone();
        }
        json!({"containers": [own]})
    }

    #[test]
    fn a_plain_pod_meets_the_baseline_and_misses_the_restrictions() {
        let plain = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        check(Level::Baseline, &plain, "");
        check(
            Level::Restricted,
            &plain,
            "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set \
             securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"a\", \"b\" must set \
             securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \"a\", \"b\" must set \
             securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"a\", \"b\" must set \
             securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
        );
        check(Level::Restricted, &hardened(&json!({})), "");
    }

    #[test]
    fn what_leads_to_the_host_is_named_with_its_container() {
        let spec = json!({"hostNetwork": true, "hostPID": true, "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "containers": [{"name": "c", "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN"]}},
                "ports": [{"hostPort": 80}, {"hostPort": 443}]}]});
        check(
            Level::Baseline,
            &spec,
            "non-default capabilities (container \"c\" must not include \"SYS_ADMIN\" in \
             securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath volumes \
             (volume \"v\"), hostPort (container \"c\" uses hostPorts 443, 80), privileged (container \"c\" must not set \
             securityContext.privileged=true)",
        );
    }

    #[test]
    fn a_restricted_rule_stands_in_for_the_weaker_one() {
        let mut spec = hardened(&json!({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}));
        spec["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {}}]);
        check(
            Level::Restricted,
            &spec,
            "unrestricted capabilities (container \"c\" must not include \"SYS_ADMIN\" in \
             securityContext.capabilities.add), restricted volume types (volumes \"v\", \"w\" use restricted volume types \
             \"hostPath\", \"nfs\")",
        );
    }

    #[test]
    fn rules_grow_with_their_version() {
        let probed = json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h"}}}]});
        let at = |minor, spec| {
            let found = violations(demand(Level::Baseline, Version::Minor(minor)), &json!({}), spec);
            describe(&found)
        };
        assert_eq!(at(33, &probed), "");
        assert_eq!(
            at(34, &probed),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")"
        );
        let tuned = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}, "containers": []});
        assert_eq!(at(31, &tuned), "forbidden sysctls (net.ipv4.tcp_rmem)");
        assert_eq!(at(32, &tuned), "");
        let unmasked =
            json!({"hostUsers": false, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]});
        assert_eq!(
            at(34, &unmasked),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"
        );
        assert_eq!(at(35, &unmasked), "");
    }

    #[test]
    fn settings_of_the_pod_hold_for_its_containers() {
        let spec = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 0,
            "seccompProfile": {"type": "Unconfined"}, "seLinuxOptions": {"type": "x", "user": "u"},
            "appArmorProfile": {"type": "Unconfined"}, "windowsOptions": {"hostProcess": true}},
            "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": false,
                "capabilities": {"drop": ["ALL"]}}}]});
        check(
            Level::Restricted,
            &spec,
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\"), seLinuxOptions (pod set \
             forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set), hostProcess (pod must not set \
             securityContext.windowsOptions.hostProcess=true), runAsNonRoot != true (container \"c\" must not set \
             securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0), seccompProfile (pod must not \
             set securityContext.seccompProfile.type to \"Unconfined\")",
        );
    }

    #[test]
    fn profiles_in_annotations_count() {
        let metadata = json!({"annotations": {
            "container.apparmor.security.beta.kubernetes.io/c": "unconfined",
            "seccomp.security.alpha.kubernetes.io/pod": "unconfined"}});
        let spec = json!({"containers": [{"name": "c"}]});
        let old = violations(demand(Level::Baseline, Version::Minor(18)), &metadata, &spec);
        assert_eq!(
            describe(&old),
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
             \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\"), seccompProfile (forbidden annotation \
             seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
        );
        let new = violations(demand(Level::Baseline, Version::Latest), &metadata, &spec);
        assert_eq!(reasons(&new), "forbidden AppArmor profile");
    }
}
