//! Which kinds upstream's scheme knows, and what it says of a body of another kind than the one expected.
//!
//! A scheme knows more kinds than are served: lists, options, and versions that were served once. Which of them are related
//! decides what a client is told: that the version is another one, that no such kind is known, or that nothing leads from
//! one kind to the other. Where the sentences go is not known here.
//!
//! Source: kubernetes `pkg/api/legacyscheme`, `apimachinery/pkg/runtime/serializer/versioning/versioning.go`,
//! `apimachinery/pkg/conversion/converter.go`, the `register.go` of the groups.

use crate::table::schema;

/// Options of requests, which each version of each group has.
const OPTIONS: [&str; 5] = [
    "CreateOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
];

/// Kinds of the core group that no document describes.
const UNDESCRIBED: [&str; 12] = [
    "List",
    "NodeProxyOptions",
    "PodAttachOptions",
    "PodExecOptions",
    "PodLogOptions",
    "PodPortForwardOptions",
    "PodProxyOptions",
    "PodStatusResult",
    "RangeAllocation",
    "SerializedReference",
    "ServiceProxyOptions",
    "APIGroup",
];

/// Versions that were served once, and the kinds in them.
const FORMER: &[(&str, &[&str])] = &[
    (
        "apps/v1beta1",
        &["ControllerRevision", "Deployment", "Scale", "StatefulSet"],
    ),
    (
        "apps/v1beta2",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "Scale",
            "StatefulSet",
        ],
    ),
    ("authentication.k8s.io/v1beta1", &["SelfSubjectReview", "TokenReview"]),
    (
        "authorization.k8s.io/v1beta1",
        &[
            "LocalSubjectAccessReview",
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    ("batch/v1beta1", &["CronJob"]),
    ("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"]),
    ("coordination.k8s.io/v1beta1", &["Lease"]),
    ("discovery.k8s.io/v1beta1", &["EndpointSlice"]),
    ("events.k8s.io/v1beta1", &["Event"]),
    (
        "extensions/v1beta1",
        &[
            "DaemonSet",
            "Deployment",
            "Ingress",
            "NetworkPolicy",
            "ReplicaSet",
            "Scale",
        ],
    ),
    ("networking.k8s.io/v1beta1", &["Ingress", "IngressClass"]),
    ("node.k8s.io/v1beta1", &["RuntimeClass"]),
    ("policy/v1beta1", &["Eviction", "PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io/v1beta1",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    ("scheduling.k8s.io/v1beta1", &["PriorityClass"]),
    (
        "storage.k8s.io/v1beta1",
        &[
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
];

/// What a body is, other than what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The expected kind in another version.
    Version,
    /// A kind that does not exist; the sentence says so.
    Unknown(String),
    /// A kind from which nothing leads to the expected one; the sentence says so.
    Unrelated(String),
}

/// Compares what a body says it is with what is expected; `None` where they are the same.
pub fn mismatch(said: (&str, &str), expected: (&str, &str)) -> Option<Mismatch> {
    if said == expected {
        return None;
    }
    let (api_version, kind) = said;
    if !is_known(api_version, kind) {
        return Some(Mismatch::Unknown(format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    let (internal, wanted) = (internal(api_version, kind), internal(expected.0, expected.1));
    if kind == expected.1 && internal == wanted {
        return Some(Mismatch::Version);
    }
    let (_, version) = split(api_version);
    Some(Mismatch::Unrelated(format!(
        "converting ({version}.{kind}) to ({wanted}.{}): unknown conversion",
        expected.1
    )))
}

/// The name in the type table of what a body says it is; `None` where the table does not have it.
pub fn type_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = split(api_version);
    let schema = schema();
    schema.by_kind(group, version, kind).map(|id| schema[id].name)
}

fn is_known(api_version: &str, kind: &str) -> bool {
    let former = FORMER.iter().find(|(version, _)| *version == api_version);
    let single = kind.strip_suffix("List").unwrap_or(kind);
    if former.is_some_and(|(_, kinds)| kinds.contains(&single)) {
        return true;
    }
    let has_options = former.is_some() || type_of(api_version, "DeleteOptions").is_some();
    type_of(api_version, kind).is_some()
        || (has_options && OPTIONS.contains(&kind))
        || (api_version == "v1" && UNDESCRIBED.contains(&kind))
}

/// The package in which upstream keeps the form of a kind that its versions are converted to.
fn internal<'a>(api_version: &'a str, kind: &str) -> &'a str {
    match (split(api_version).0, kind) {
        ("" | "events.k8s.io", _) => "core",
        (_, "Scale") => "autoscaling",
        ("extensions", "Ingress" | "NetworkPolicy") => "networking",
        ("extensions", _) => "apps",
        (group, _) => group.split('.').next().unwrap_or(group),
    }
}

/// Group and version.
fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: (&str, &str) = ("batch/v1", "Job");

    #[track_caller]
    fn check(said: (&str, &str), expected: (&str, &str), text: &str) {
        let told = match mismatch(said, expected) {
            None => String::new(),
            Some(Mismatch::Version) => "version".to_owned(),
            Some(Mismatch::Unknown(text) | Mismatch::Unrelated(text)) => text,
        };
        assert_eq!(told, text, "{said:?}");
    }

    #[test]
    fn nothing_leads_from_one_kind_to_another() {
        check(JOB, JOB, "");
        for (said, from) in [
            (("batch/v1", "JobList"), "v1.JobList"),
            (("v1", "Pod"), "v1.Pod"),
            (("v1", "List"), "v1.List"),
            (("batch/v1beta1", "CronJobList"), "v1beta1.CronJobList"),
            (("batch/v1", "PatchOptions"), "v1.PatchOptions"),
            (("v1", "Status"), "v1.Status"),
        ] {
            check(
                said,
                JOB,
                &format!("converting ({from}) to (batch.Job): unknown conversion"),
            );
        }
        let scale = ("autoscaling/v1", "Scale");
        check(
            JOB,
            scale,
            "converting (v1.Job) to (autoscaling.Scale): unknown conversion",
        );
        check(
            JOB,
            ("events.k8s.io/v1", "Event"),
            "converting (v1.Job) to (core.Event): unknown conversion",
        );
    }

    #[test]
    fn versions_of_one_kind_are_related_whatever_their_group() {
        for (said, expected) in [
            (("batch/v1beta1", "CronJob"), ("batch/v1", "CronJob")),
            (("extensions/v1beta1", "DaemonSet"), ("apps/v1", "DaemonSet")),
            (("events.k8s.io/v1", "Event"), ("v1", "Event")),
            (("extensions/v1beta1", "Ingress"), ("networking.k8s.io/v1", "Ingress")),
            (("apps/v1beta2", "Scale"), ("autoscaling/v1", "Scale")),
            (("policy/v1beta1", "Eviction"), ("policy/v1", "Eviction")),
        ] {
            check(said, expected, "version");
        }
    }

    #[test]
    fn what_no_group_has_is_unknown() {
        for said in [
            ("batch/v2", "Job"),
            ("batch/v2alpha1", "CronJob"),
            ("batch/v1", "Pod"),
            ("v1", "Widget"),
            ("widgets.example/v1", "PatchOptions"),
        ] {
            let text = format!(
                "no kind {:?} is registered for version {:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                said.1, said.0
            );
            check(said, JOB, &text);
        }
    }
}
