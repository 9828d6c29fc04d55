//! A change of one object, as a value.
//!
//! Controllers return writes, the registry commits them, the remote side sends them as requests. A write says what must
//! hold for it to make sense ([`Precondition`]), so a stale one is refused instead of doing harm.

use std::fmt;

use serde_json::Value;

use crate::{ApiError, FieldError, FieldErrorKind, Resource, Revision};

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The kind of object.
    pub resource: &'static Resource,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name; empty for a create whose object carries `metadata.generateName`.
    pub name: String,
    /// What must hold for the change to be made; otherwise it is refused with a conflict.
    pub precondition: Precondition,
    /// What is changed.
    pub change: Change,
    /// Values of this write that become known only when an earlier create of the same plan is done.
    pub links: Vec<Link>,
}

/// What is changed about the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create this object.
    Create(Value),
    /// Replace the object, or with a subresource (`status`, `scale`, …) the part that belongs to it.
    Update {
        /// The whole new object.
        object: Value,
        /// The subresource written to; `None` is the object itself.
        subresource: Option<&'static str>,
    },
    /// Change the object by a patch.
    Patch {
        /// How the patch is read.
        kind: PatchKind,
        /// The patch document.
        patch: Value,
        /// The subresource written to; `None` is the object itself.
        subresource: Option<&'static str>,
    },
    /// Delete the object.
    Delete(DeleteOptions),
    /// Post to a subresource that is an action: `binding`, `eviction`.
    Post {
        /// The subresource posted to.
        subresource: &'static str,
        /// The body, such as a `Binding` or an `Eviction`.
        body: Value,
    },
}

/// How a patch document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch, driven by the type table.
    Strategic,
    /// Server-side apply; the field manager and the force flag travel with the request.
    Apply,
}

/// What must hold for a write to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's revision.
    pub revision: Option<Revision>,
    /// Objects that must not exist.
    pub absent: Vec<Absent>,
}

/// An object that must not exist; another one of its name does not count.
///
/// For what is to be written because something is gone: kinds are seen side by side, so that what was never seen may only not
/// be seen yet. In process the commit depends on it; remotely the object is looked up before the write is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The kind.
    pub resource: &'static Resource,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

impl Absent {
    /// Refuses `write` when `found`, the uid of the object of that name, is this object's.
    ///
    /// Errors: it is, a conflict.
    pub fn check(&self, write: &Write, found: Option<&str>) -> Result<(), ApiError> {
        if found != Some(self.uid.as_str()) {
            return Ok(());
        }
        let there = format!("{} {:?} has not gone", self.resource.qualified(), self.name);
        Err(ApiError::conflict(write.resource, &write.name, there))
    }
}

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without the owner reference.
    Orphan,
    /// The owner goes at once, they follow.
    Background,
    /// They go first, the owner stays until they are gone.
    Foreground,
}

impl Propagation {
    const ALL: [Self; 3] = [Self::Background, Self::Foreground, Self::Orphan];

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }

    /// The name of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "Orphan",
            Self::Background => "Background",
            Self::Foreground => "Foreground",
        }
    }
}

/// Options of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds the object may take to end; `None`: what the object says; 0: at once.
    pub grace_period_secs: Option<i64>,
    /// What happens to dependents; `None`: the kind's default.
    pub propagation: Option<Propagation>,
    /// The deprecated spelling of propagation; exclusive with it.
    pub orphan_dependents: Option<bool>,
}

impl DeleteOptions {
    /// Reads `metav1.DeleteOptions`: the options, and what must hold for the delete.
    ///
    /// Errors: every option that makes no sense. Source: kubernetes `apimachinery/pkg/apis/meta/v1/validation`.
    pub fn read(options: &Value) -> Result<(Self, Precondition), Vec<FieldError>> {
        let policy = options["propagationPolicy"].as_str();
        let orphan = options["orphanDependents"].as_bool();
        let propagation = policy.and_then(Propagation::parse);
        let refuse =
            |kind, detail: &str| FieldError::new(kind, "propagationPolicy", policy.map(Value::from).as_ref(), detail);
        let mut errors = Vec::new();
        if policy.is_some() && orphan.is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(refuse(FieldErrorKind::Invalid, detail));
        }
        if policy.is_some() && propagation.is_none() {
            let detail = "supported values: \"Background\", \"Foreground\", \"Orphan\"";
            errors.push(refuse(FieldErrorKind::NotSupported, detail));
        }
        let dry_runs = options["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
        errors.extend(broken_dry_run(dry_runs));
        if !errors.is_empty() {
            return Err(errors);
        }
        let options_read = Self {
            grace_period_secs: options["gracePeriodSeconds"].as_i64(),
            propagation,
            orphan_dependents: orphan,
        };
        Ok((options_read, Precondition::read(&options["preconditions"])))
    }
}

/// A dry run is asked for with the word `All` and no other.
pub fn broken_dry_run(asked: &[Value]) -> Option<FieldError> {
    if asked.iter().all(|value| *value == "All") {
        return None;
    }
    let asked = Value::Array(asked.to_vec());
    let detail = "supported values: \"All\"";
    Some(FieldError::new(
        FieldErrorKind::NotSupported,
        "dryRun",
        Some(&asked),
        detail,
    ))
}

impl Precondition {
    /// Reads `metav1.Preconditions`. A resource version that is no number is that of no object.
    pub fn read(preconditions: &Value) -> Self {
        let revision = preconditions["resourceVersion"].as_str();
        Self {
            uid: preconditions["uid"].as_str().map(str::to_owned),
            revision: revision.map(|version| Revision(version.parse().unwrap_or_default())),
            absent: Vec::new(),
        }
    }
}

/// A value of a later write that an earlier create of the same plan brings about.
///
/// Needed where a status names the uid of an object that the same plan creates. In process both are one transaction;
/// remotely the runner fills the value in after the create was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// JSON pointer (RFC 6901) into this write's body to the place that is filled in.
    pub pointer: String,
    /// Index, in the plan's order, of the create whose result is used.
    pub created_by: usize,
    /// JSON pointer into the created object, such as `/metadata/uid`.
    pub field: String,
}

impl Write {
    /// Creates `object`; its namespace and name are read from its metadata.
    pub fn create(resource: &'static Resource, object: Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Self {
            resource,
            namespace: text("namespace"),
            name: text("name"),
            precondition: Precondition::default(),
            change: Change::Create(object),
            links: Vec::new(),
        }
    }

    /// Changes the named object by a merge patch.
    pub fn merge(resource: &'static Resource, namespace: &str, name: &str, patch: Value) -> Self {
        Self::patch(resource, namespace, name, PatchKind::Merge, patch, None)
    }

    /// Changes the status of the named object by a merge patch; `patch` holds the whole body, `{"status": …}`.
    pub fn merge_status(resource: &'static Resource, namespace: &str, name: &str, patch: Value) -> Self {
        Self::patch(resource, namespace, name, PatchKind::Merge, patch, Some("status"))
    }

    /// Changes the named object by a patch.
    pub fn patch(
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        kind: PatchKind,
        patch: Value,
        subresource: Option<&'static str>,
    ) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            precondition: Precondition::default(),
            change: Change::Patch {
                kind,
                patch,
                subresource,
            },
            links: Vec::new(),
        }
    }

    /// Replaces the named object, or the part of it that belongs to `subresource`.
    pub fn update(resource: &'static Resource, object: Value, subresource: Option<&'static str>) -> Self {
        let mut write = Self::create(resource, Value::Null);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        write.namespace = text("namespace");
        write.name = text("name");
        write.change = Change::Update { object, subresource };
        write
    }

    /// Deletes the named object.
    pub fn delete(resource: &'static Resource, namespace: &str, name: &str, options: DeleteOptions) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            precondition: Precondition::default(),
            change: Change::Delete(options),
            links: Vec::new(),
        }
    }

    /// Posts `body` to a subresource of the named object.
    pub fn post(
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: &'static str,
        body: Value,
    ) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            precondition: Precondition::default(),
            change: Change::Post { subresource, body },
            links: Vec::new(),
        }
    }

    /// The same write, refused unless the object has this uid.
    #[must_use]
    pub fn if_uid(mut self, uid: impl Into<String>) -> Self {
        self.precondition.uid = Some(uid.into());
        self
    }

    /// The same write, refused unless the object is at this revision.
    #[must_use]
    pub fn if_revision(mut self, revision: Revision) -> Self {
        self.precondition.revision = Some(revision);
        self
    }

    /// The same write, refused while this other object exists.
    #[must_use]
    pub fn if_absent(mut self, absent: Absent) -> Self {
        self.precondition.absent.push(absent);
        self
    }

    /// The same write, with a value filled in from an earlier create of the plan.
    #[must_use]
    pub fn link(mut self, pointer: impl Into<String>, created_by: usize, field: impl Into<String>) -> Self {
        self.links.push(Link {
            pointer: pointer.into(),
            created_by,
            field: field.into(),
        });
        self
    }
}

/// One line for people: `create Pod ns/name`, `patch Job/status ns/name`, `delete Pod ns/name`.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match &self.change {
            Change::Create(_) => "create",
            Change::Update { .. } => "update",
            Change::Patch { .. } => "patch",
            Change::Delete(_) => "delete",
            Change::Post { .. } => "post",
        };
        write!(f, "{verb} {}", self.resource.kind)?;
        match &self.change {
            Change::Update {
                subresource: Some(sub), ..
            }
            | Change::Patch {
                subresource: Some(sub), ..
            }
            | Change::Post { subresource: sub, .. } => write!(f, "/{sub}")?,
            Change::Create(_) | Change::Update { .. } | Change::Patch { .. } | Change::Delete(_) => {}
        }
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        match (&self.change, self.name.as_str()) {
            (Change::Create(object), "") => {
                write!(
                    f,
                    "{}*",
                    object["metadata"]["generateName"].as_str().unwrap_or_default()
                )
            }
            (_, name) => f.write_str(name),
        }
    }
}
