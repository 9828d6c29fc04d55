//! The resources that are served, as data.
//!
//! A resource is a kind under its REST name in one group and version. Everything that differs between kinds and is a
//! plain fact (names, scope, verbs, subresources) stands here and nowhere else; discovery, routing and tables read it.
//!
//! Source: `spec/api.md` §1.2, in the order in which groups are listed to clients.

use std::fmt;

/// A kind under its REST name in one group and version. Resources are statics: compare them with `==`.
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version, such as `v1`.
    pub version: &'static str,
    /// The kind of its objects, such as `CronJob`.
    pub kind: &'static str,
    /// The name in paths, such as `cronjobs`.
    pub plural: &'static str,
    /// The name of one, as `kubectl` accepts it.
    pub singular: &'static str,
    /// Abbreviations that `kubectl` accepts, such as `cj`.
    pub short_names: &'static [&'static str],
    /// Groups of resources that `kubectl` accepts, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub scope: Scope,
    /// The verbs it supports, sorted.
    pub verbs: &'static [&'static str],
    /// The subresources of its objects, sorted by name.
    pub subresources: &'static [Subresource],
    /// The name of its type in the type table, such as `io.k8s.api.batch.v1.CronJob`.
    pub schema: &'static str,
    /// The group under which its objects are stored (two groups may show the same objects).
    pub stored_group: &'static str,
    /// The version in which its objects are stored.
    pub stored_version: &'static str,
}

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// Beside all namespaces.
    Cluster,
}

/// A part or an action of an object with a path of its own.
#[derive(Debug)]
pub struct Subresource {
    /// The last part of the path, such as `status`.
    pub name: &'static str,
    /// The group of its kind where that is not the resource's own group and version.
    pub group: &'static str,
    /// The version of its kind, empty where `group` is.
    pub version: &'static str,
    /// The kind of its bodies.
    pub kind: &'static str,
    /// The verbs it supports, sorted.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// `plural` in the core group, `plural.group` elsewhere: how messages name a resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `v1` or `batch/v1`: how objects name their group and version.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// True when its objects live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// True when `verb` is supported on the resource itself.
    pub fn supports(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// True when objects of this resource are stored; false for reviews and other requests in the shape of an object.
    pub fn is_stored(&self) -> bool {
        self.supports("watch")
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// The resource under which its objects are stored: itself, except for a second version or group of the same objects.
    pub fn stored(&'static self) -> &'static Resource {
        if self.group == self.stored_group && self.version == self.stored_version {
            return self;
        }
        find(self.stored_group, self.stored_version, self.plural)
            .expect("the table holds the stored form of each resource")
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.plural == other.plural && self.group == other.group && self.version == other.version)
    }
}

impl Eq for Resource {}

impl std::hash::Hash for Resource {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.plural.hash(state);
        self.group.hash(state);
        self.version.hash(state);
    }
}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.group, self.version, self.plural).cmp(&(other.group, other.version, other.plural))
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.plural)
    }
}

/// The served resource with that path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter()
        .copied()
        .find(|r| r.plural == plural && r.group == group && r.version == version)
}

/// The served resource whose objects carry that `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ALL.iter()
        .copied()
        .find(|r| r.kind == kind && r.group == group && r.version == version)
}

const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// `bindings/v1`.
pub static BINDINGS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.core.v1.Binding",
    stored_group: "",
    stored_version: "v1",
};

/// `componentstatuses/v1`.
pub static COMPONENT_STATUSES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["get", "list"],
    subresources: &[],
    schema: "io.k8s.api.core.v1.ComponentStatus",
    stored_group: "",
    stored_version: "v1",
};

/// `configmaps/v1`.
pub static CONFIG_MAPS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.ConfigMap",
    stored_group: "",
    stored_version: "v1",
};

/// `endpoints/v1`.
pub static ENDPOINTS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Endpoints",
    stored_group: "",
    stored_version: "v1",
};

/// `events/v1`.
pub static EVENTS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Event",
    stored_group: "",
    stored_version: "v1",
};

/// `limitranges/v1`.
pub static LIMIT_RANGES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.LimitRange",
    stored_group: "",
    stored_version: "v1",
};

/// `namespaces/v1`.
pub static NAMESPACES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[
        Subresource {
            name: "finalize",
            group: "",
            version: "",
            kind: "Namespace",
            verbs: &["update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "Namespace",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.core.v1.Namespace",
    stored_group: "",
    stored_version: "v1",
};

/// `nodes/v1`.
pub static NODES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "proxy",
            group: "",
            version: "",
            kind: "NodeProxyOptions",
            verbs: &["create", "delete", "get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "Node",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.core.v1.Node",
    stored_group: "",
    stored_version: "v1",
};

/// `persistentvolumeclaims/v1`.
pub static PERSISTENT_VOLUME_CLAIMS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "PersistentVolumeClaim",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.core.v1.PersistentVolumeClaim",
    stored_group: "",
    stored_version: "v1",
};

/// `persistentvolumes/v1`.
pub static PERSISTENT_VOLUMES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "PersistentVolume",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.core.v1.PersistentVolume",
    stored_group: "",
    stored_version: "v1",
};

/// `pods/v1`.
pub static PODS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "attach",
            group: "",
            version: "",
            kind: "PodAttachOptions",
            verbs: &["create", "get"],
        },
        Subresource {
            name: "binding",
            group: "",
            version: "",
            kind: "Binding",
            verbs: &["create"],
        },
        Subresource {
            name: "ephemeralcontainers",
            group: "",
            version: "",
            kind: "Pod",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
        },
        Subresource {
            name: "exec",
            group: "",
            version: "",
            kind: "PodExecOptions",
            verbs: &["create", "get"],
        },
        Subresource {
            name: "log",
            group: "",
            version: "",
            kind: "Pod",
            verbs: &["get"],
        },
        Subresource {
            name: "portforward",
            group: "",
            version: "",
            kind: "PodPortForwardOptions",
            verbs: &["create", "get"],
        },
        Subresource {
            name: "proxy",
            group: "",
            version: "",
            kind: "PodProxyOptions",
            verbs: &["create", "delete", "get", "patch", "update"],
        },
        Subresource {
            name: "resize",
            group: "",
            version: "",
            kind: "Pod",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "Pod",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.core.v1.Pod",
    stored_group: "",
    stored_version: "v1",
};

/// `podtemplates/v1`.
pub static POD_TEMPLATES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.PodTemplate",
    stored_group: "",
    stored_version: "v1",
};

/// `replicationcontrollers/v1`.
pub static REPLICATION_CONTROLLERS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "ReplicationController",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.core.v1.ReplicationController",
    stored_group: "",
    stored_version: "v1",
};

/// `resourcequotas/v1`.
pub static RESOURCE_QUOTAS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "ResourceQuota",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.core.v1.ResourceQuota",
    stored_group: "",
    stored_version: "v1",
};

/// `secrets/v1`.
pub static SECRETS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Secret",
    stored_group: "",
    stored_version: "v1",
};

/// `serviceaccounts/v1`.
pub static SERVICE_ACCOUNTS: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    stored_group: "",
    stored_version: "v1",
};

/// `services/v1`.
pub static SERVICES: &Resource = &Resource {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "proxy",
            group: "",
            version: "",
            kind: "ServiceProxyOptions",
            verbs: &["create", "delete", "get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "Service",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.core.v1.Service",
    stored_group: "",
    stored_version: "v1",
};

/// `controllerrevisions.apps/v1`.
pub static CONTROLLER_REVISIONS: &Resource = &Resource {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.apps.v1.ControllerRevision",
    stored_group: "apps",
    stored_version: "v1",
};

/// `daemonsets.apps/v1`.
pub static DAEMON_SETS: &Resource = &Resource {
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "DaemonSet",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.apps.v1.DaemonSet",
    stored_group: "apps",
    stored_version: "v1",
};

/// `deployments.apps/v1`.
pub static DEPLOYMENTS: &Resource = &Resource {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "Deployment",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.apps.v1.Deployment",
    stored_group: "apps",
    stored_version: "v1",
};

/// `replicasets.apps/v1`.
pub static REPLICA_SETS: &Resource = &Resource {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "ReplicaSet",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
    stored_group: "apps",
    stored_version: "v1",
};

/// `statefulsets.apps/v1`.
pub static STATEFUL_SETS: &Resource = &Resource {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "StatefulSet",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.apps.v1.StatefulSet",
    stored_group: "apps",
    stored_version: "v1",
};

/// `events.events.k8s.io/v1`.
pub static EVENTS_V1: &Resource = &Resource {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.events.v1.Event",
    stored_group: "",
    stored_version: "v1",
};

/// `selfsubjectreviews.authentication.k8s.io/v1`.
pub static SELF_SUBJECT_REVIEWS: &Resource = &Resource {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
    stored_group: "authentication.k8s.io",
    stored_version: "v1",
};

/// `tokenreviews.authentication.k8s.io/v1`.
pub static TOKEN_REVIEWS: &Resource = &Resource {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authentication.v1.TokenReview",
    stored_group: "authentication.k8s.io",
    stored_version: "v1",
};

/// `localsubjectaccessreviews.authorization.k8s.io/v1`.
pub static LOCAL_SUBJECT_ACCESS_REVIEWS: &Resource = &Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    stored_group: "authorization.k8s.io",
    stored_version: "v1",
};

/// `selfsubjectaccessreviews.authorization.k8s.io/v1`.
pub static SELF_SUBJECT_ACCESS_REVIEWS: &Resource = &Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    stored_group: "authorization.k8s.io",
    stored_version: "v1",
};

/// `selfsubjectrulesreviews.authorization.k8s.io/v1`.
pub static SELF_SUBJECT_RULES_REVIEWS: &Resource = &Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    stored_group: "authorization.k8s.io",
    stored_version: "v1",
};

/// `subjectaccessreviews.authorization.k8s.io/v1`.
pub static SUBJECT_ACCESS_REVIEWS: &Resource = &Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SubjectAccessReview",
    stored_group: "authorization.k8s.io",
    stored_version: "v1",
};

/// `cronjobs.batch/v1`.
pub static CRON_JOBS: &Resource = &Resource {
    group: "batch",
    version: "v1",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "CronJob",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.batch.v1.CronJob",
    stored_group: "batch",
    stored_version: "v1",
};

/// `jobs.batch/v1`.
pub static JOBS: &Resource = &Resource {
    group: "batch",
    version: "v1",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    short_names: &[],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "Job",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.batch.v1.Job",
    stored_group: "batch",
    stored_version: "v1",
};

/// `cronjobs.batch/v1beta1`.
pub static CRON_JOBS_V1BETA1: &Resource = &Resource {
    group: "batch",
    version: "v1beta1",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "CronJob",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.batch.v1.CronJob",
    stored_group: "batch",
    stored_version: "v1",
};

/// `certificatesigningrequests.certificates.k8s.io/v1`.
pub static CERTIFICATE_SIGNING_REQUESTS: &Resource = &Resource {
    group: "certificates.k8s.io",
    version: "v1",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "approval",
            group: "",
            version: "",
            kind: "CertificateSigningRequest",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "",
            version: "",
            kind: "CertificateSigningRequest",
            verbs: &["get", "patch", "update"],
        },
    ],
    schema: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    stored_group: "certificates.k8s.io",
    stored_version: "v1",
};

/// `ingressclasses.networking.k8s.io/v1`.
pub static INGRESS_CLASSES: &Resource = &Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.networking.v1.IngressClass",
    stored_group: "networking.k8s.io",
    stored_version: "v1",
};

/// `ingresses.networking.k8s.io/v1`.
pub static INGRESSES: &Resource = &Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "Ingress",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.networking.v1.Ingress",
    stored_group: "networking.k8s.io",
    stored_version: "v1",
};

/// `networkpolicies.networking.k8s.io/v1`.
pub static NETWORK_POLICIES: &Resource = &Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.networking.v1.NetworkPolicy",
    stored_group: "networking.k8s.io",
    stored_version: "v1",
};

/// `poddisruptionbudgets.policy/v1`.
pub static POD_DISRUPTION_BUDGETS: &Resource = &Resource {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "PodDisruptionBudget",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.policy.v1.PodDisruptionBudget",
    stored_group: "policy",
    stored_version: "v1",
};

/// `clusterrolebindings.rbac.authorization.k8s.io/v1`.
pub static CLUSTER_ROLE_BINDINGS: &Resource = &Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    stored_group: "rbac.authorization.k8s.io",
    stored_version: "v1",
};

/// `clusterroles.rbac.authorization.k8s.io/v1`.
pub static CLUSTER_ROLES: &Resource = &Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.ClusterRole",
    stored_group: "rbac.authorization.k8s.io",
    stored_version: "v1",
};

/// `rolebindings.rbac.authorization.k8s.io/v1`.
pub static ROLE_BINDINGS: &Resource = &Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.RoleBinding",
    stored_group: "rbac.authorization.k8s.io",
    stored_version: "v1",
};

/// `roles.rbac.authorization.k8s.io/v1`.
pub static ROLES: &Resource = &Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "Role",
    plural: "roles",
    singular: "role",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.rbac.v1.Role",
    stored_group: "rbac.authorization.k8s.io",
    stored_version: "v1",
};

/// `csidrivers.storage.k8s.io/v1`.
pub static CSI_DRIVERS: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSIDriver",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `csinodes.storage.k8s.io/v1`.
pub static CSI_NODES: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSINode",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `csistoragecapacities.storage.k8s.io/v1`.
pub static CSI_STORAGE_CAPACITIES: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.CSIStorageCapacity",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `storageclasses.storage.k8s.io/v1`.
pub static STORAGE_CLASSES: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.StorageClass",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `volumeattachments.storage.k8s.io/v1`.
pub static VOLUME_ATTACHMENTS: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "VolumeAttachment",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.storage.v1.VolumeAttachment",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `volumeattributesclasses.storage.k8s.io/v1`.
pub static VOLUME_ATTRIBUTES_CLASSES: &Resource = &Resource {
    group: "storage.k8s.io",
    version: "v1",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.storage.v1.VolumeAttributesClass",
    stored_group: "storage.k8s.io",
    stored_version: "v1",
};

/// `priorityclasses.scheduling.k8s.io/v1`.
pub static PRIORITY_CLASSES: &Resource = &Resource {
    group: "scheduling.k8s.io",
    version: "v1",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.scheduling.v1.PriorityClass",
    stored_group: "scheduling.k8s.io",
    stored_version: "v1",
};

/// `leases.coordination.k8s.io/v1`.
pub static LEASES: &Resource = &Resource {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.coordination.v1.Lease",
    stored_group: "coordination.k8s.io",
    stored_version: "v1",
};

/// `runtimeclasses.node.k8s.io/v1`.
pub static RUNTIME_CLASSES: &Resource = &Resource {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.node.v1.RuntimeClass",
    stored_group: "node.k8s.io",
    stored_version: "v1",
};

/// `endpointslices.discovery.k8s.io/v1`.
pub static ENDPOINT_SLICES: &Resource = &Resource {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    stored_group: "discovery.k8s.io",
    stored_version: "v1",
};

/// `deviceclasses.resource.k8s.io/v1`.
pub static DEVICE_CLASSES: &Resource = &Resource {
    group: "resource.k8s.io",
    version: "v1",
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.DeviceClass",
    stored_group: "resource.k8s.io",
    stored_version: "v1",
};

/// `resourceclaims.resource.k8s.io/v1`.
pub static RESOURCE_CLAIMS: &Resource = &Resource {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "",
        kind: "ResourceClaim",
        verbs: &["get", "patch", "update"],
    }],
    schema: "io.k8s.api.resource.v1.ResourceClaim",
    stored_group: "resource.k8s.io",
    stored_version: "v1",
};

/// `resourceclaimtemplates.resource.k8s.io/v1`.
pub static RESOURCE_CLAIM_TEMPLATES: &Resource = &Resource {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.ResourceClaimTemplate",
    stored_group: "resource.k8s.io",
    stored_version: "v1",
};

/// `resourceslices.resource.k8s.io/v1`.
pub static RESOURCE_SLICES: &Resource = &Resource {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.resource.v1.ResourceSlice",
    stored_group: "resource.k8s.io",
    stored_version: "v1",
};

/// Every served resource; groups in the order in which they are listed to clients.
pub static ALL: &[&Resource] = &[
    BINDINGS,
    COMPONENT_STATUSES,
    CONFIG_MAPS,
    ENDPOINTS,
    EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    POD_TEMPLATES,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    EVENTS_V1,
    SELF_SUBJECT_REVIEWS,
    TOKEN_REVIEWS,
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    CRON_JOBS,
    JOBS,
    CRON_JOBS_V1BETA1,
    CERTIFICATE_SIGNING_REQUESTS,
    INGRESS_CLASSES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
    PRIORITY_CLASSES,
    LEASES,
    RUNTIME_CLASSES,
    ENDPOINT_SLICES,
    DEVICE_CLASSES,
    RESOURCE_CLAIMS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_SLICES,
];

/// Which resources a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `batch/v1beta1` too, which upstream served until v1.24: old manifests and clients name it.
    pub batch_v1beta1: bool,
}

impl Default for Served {
    fn default() -> Self {
        Self { batch_v1beta1: true }
    }
}

impl Served {
    /// True when the resource is served.
    pub fn includes(self, resource: &Resource) -> bool {
        self.batch_v1beta1 || (resource.group, resource.version) != ("batch", "v1beta1")
    }

    /// The served resources in the order in which their groups are listed to clients.
    pub fn resources(self) -> impl Iterator<Item = &'static Resource> {
        ALL.iter().copied().filter(move |resource| self.includes(resource))
    }

    /// The served resource of that REST name.
    pub fn find(self, group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        find(group, version, plural).filter(|resource| self.includes(resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_what_a_manifest_says() {
        assert_eq!(find_kind("batch/v1", "CronJob"), Some(CRON_JOBS));
        assert_eq!(find_kind("v1", "Pod"), Some(PODS));
        assert_eq!(find_kind("batch/v2", "Job"), None);
    }

    #[test]
    fn second_versions_share_the_storage_of_the_first() {
        assert_eq!(CRON_JOBS_V1BETA1.stored(), CRON_JOBS);
        assert_eq!(EVENTS_V1.stored(), EVENTS);
        assert_eq!(PODS.stored(), PODS);
    }
}
