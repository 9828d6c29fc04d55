//! A stored object: a small header, its encoded bytes, views decoded on demand.
//!
//! An object is encoded once per revision and shared by the store, every cache and every watcher. The resource version is
//! not part of the stored bytes, since it is known only at the commit: it is spliced in when the object is written out.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Resource;

/// The annotation that counts the templates of a DaemonSet.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The number of a commit, shown to clients as `resourceVersion`. 0 stands for "before any commit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What of an object is needed without decoding it: selection, ownership, placement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`; 0 when absent.
    pub generation: i64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<OwnerReference>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: set while the object is being deleted.
    pub deleting: Option<Timestamp>,
    /// `spec.nodeName` of a pod; empty elsewhere and while unbound.
    pub node: String,
    /// `status.phase`, where the kind has one.
    pub phase: String,
}

/// One of an object's owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// `kind` of the owner.
    pub kind: String,
    /// `name` of the owner.
    pub name: String,
    /// `uid` of the owner.
    pub uid: String,
    /// True for the one owner that manages the object.
    pub controller: bool,
    /// True when a foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

impl Meta {
    /// Reads the header out of a whole object.
    pub fn of(value: &Value) -> Self {
        let metadata = &value["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let time = |v: &Value| v.as_str().and_then(|s| s.parse().ok());
        Self {
            name: text(&metadata["name"]),
            namespace: text(&metadata["namespace"]),
            uid: text(&metadata["uid"]),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            labels: metadata["labels"]
                .as_object()
                .map(|labels| labels.iter().map(|(k, v)| (k.clone(), text(v))).collect())
                .unwrap_or_default(),
            finalizers: metadata["finalizers"]
                .as_array()
                .map(|f| f.iter().map(text).collect())
                .unwrap_or_default(),
            owners: metadata["ownerReferences"]
                .as_array()
                .map(|owners| {
                    owners
                        .iter()
                        .map(|o| OwnerReference {
                            api_version: text(&o["apiVersion"]),
                            kind: text(&o["kind"]),
                            name: text(&o["name"]),
                            uid: text(&o["uid"]),
                            controller: o["controller"].as_bool().unwrap_or_default(),
                            block_owner_deletion: o["blockOwnerDeletion"].as_bool().unwrap_or_default(),
                        })
                        .collect()
                })
                .unwrap_or_default(),
            created: time(&metadata["creationTimestamp"]),
            deleting: time(&metadata["deletionTimestamp"]),
            node: text(&value["spec"]["nodeName"]),
            phase: text(&value["status"]["phase"]),
        }
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|o| o.controller)
    }
}

/// An object as encoded for storage, before a commit gave it a revision.
///
/// The bytes begin with `kind`, `apiVersion` and `metadata`, in this order and where present, so that each form in which
/// clients read an object (whole, as an item of a list, in another version, metadata only) is cut from the same bytes.
#[derive(Debug)]
pub struct Encoded {
    /// The stored form of the kind.
    pub resource: &'static Resource,
    /// The header.
    pub meta: Meta,
    /// JSON without `metadata.resourceVersion`; what the store keeps.
    pub json: Bytes,
    cuts: Cuts,
}

/// Places in the encoded bytes where forms are cut.
#[derive(Debug, Default)]
struct Cuts {
    /// Behind the type fields: where the first of the other fields begins.
    fields: usize,
    /// Where the resource version is spliced in: right behind `"metadata":{`. 0 when there is no metadata object.
    splice: usize,
    /// True when the metadata object has no other field, so that no comma follows the spliced one.
    alone: bool,
    /// Behind the closing brace of the metadata object. 0 when there is no metadata.
    metadata_end: usize,
}

impl Cuts {
    /// Appends the metadata as the first of the fields behind the type fields.
    fn write_metadata(&mut self, json: &mut Vec<u8>, metadata: &Value) {
        write_field(json, "metadata", metadata);
        self.metadata_end = json.len();
        if let Some(map) = metadata.as_object() {
            self.splice = self.fields + "\"metadata\":{".len();
            self.alone = map.is_empty();
        }
    }
}

impl Encoded {
    /// Encodes a whole object. `metadata.resourceVersion` is left out; everything else is kept as it is.
    pub fn new(resource: &'static Resource, mut value: Value) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let meta = Meta::of(&value);
        let mut json = Vec::with_capacity(4096);
        let mut cuts = Cuts::default();
        json.push(b'{');
        for name in TYPE_FIELDS {
            if let Some(field) = value.get(name) {
                write_field(&mut json, name, field);
            }
        }
        // A comma that follows the type fields belongs to them: what is cut off in front of `fields` ends with it.
        cuts.fields = json.len() + usize::from(json.len() > 1);
        if let Some(metadata) = value.get("metadata") {
            cuts.write_metadata(&mut json, metadata);
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            if name != "metadata" && !TYPE_FIELDS.contains(&name.as_str()) {
                write_field(&mut json, name, field);
            }
        }
        if cuts.fields > json.len() {
            cuts.fields = json.len();
        }
        json.push(b'}');
        // Kept for long, many at a time: without room to grow.
        json.shrink_to_fit();
        Self {
            resource,
            meta,
            json: json.into(),
            cuts,
        }
    }

    /// The same object with other metadata, which must name the same object; `metadata.resourceVersion` is left out. What
    /// else the object holds is not looked at. An object that has no metadata stays as it is.
    #[must_use]
    pub fn with_metadata(&self, metadata: &Value) -> Self {
        if self.cuts.metadata_end == 0 {
            return Self::decode(self.resource, &self.json).expect("stored bytes were made by encoding a JSON value");
        }
        let mut metadata = metadata.clone();
        if let Some(members) = metadata.as_object_mut() {
            members.remove("resourceVersion");
        }
        let head = Value::Object([("metadata".to_owned(), metadata)].into_iter().collect());
        let meta = Meta {
            node: self.meta.node.clone(),
            phase: self.meta.phase.clone(),
            ..Meta::of(&head)
        };
        let mut json = Vec::with_capacity(self.json.len() + 256);
        let types_end = self.cuts.fields - usize::from(self.cuts.fields > 1);
        json.extend_from_slice(&self.json[..types_end]);
        let mut cuts = Cuts {
            fields: self.cuts.fields,
            ..Cuts::default()
        };
        cuts.write_metadata(&mut json, &head["metadata"]);
        json.extend_from_slice(&self.json[self.cuts.metadata_end..]);
        json.shrink_to_fit();
        Self {
            resource: self.resource,
            meta,
            json: json.into(),
            cuts,
        }
    }

    /// Reads the stored form back.
    ///
    /// Errors: the bytes are not a JSON object (the store is damaged or was written by something else).
    pub fn decode(resource: &'static Resource, json: &[u8]) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::from_slice(json)?;
        Ok(Self::new(resource, value))
    }
}

/// An object at one revision. Cheap to share: hold it in an [`Arc`].
pub struct Object {
    encoded: Arc<Encoded>,
    revision: Revision,
    view: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Object {
    /// The object as a commit made it.
    pub fn new(encoded: Arc<Encoded>, revision: Revision) -> Self {
        Self {
            encoded,
            revision,
            view: OnceLock::new(),
        }
    }

    /// An object that came from elsewhere as a whole, such as from a foreign API server or a test; its revision is read
    /// from `metadata.resourceVersion` (0 where that is absent or not a number).
    pub fn from_value(resource: &'static Resource, value: Value) -> Self {
        let revision = Revision(
            value["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|v| v.parse().ok())
                .unwrap_or_default(),
        );
        Self::new(Arc::new(Encoded::new(resource, value)), revision)
    }

    /// The stored form of the object's kind.
    pub fn resource(&self) -> &'static Resource {
        self.encoded.resource
    }

    /// The header.
    pub fn meta(&self) -> &Meta {
        &self.encoded.meta
    }

    /// The commit that made the object what it is.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The encoded form, shared.
    pub fn encoded(&self) -> &Arc<Encoded> {
        &self.encoded
    }

    /// Appends the object as JSON, resource version included.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write_range(out, 0, self.encoded.json.len());
    }

    /// Appends the object as an item of a list: as [`Object::write_json`], without `kind` and `apiVersion`.
    pub fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_range(out, self.encoded.cuts.fields, self.encoded.json.len());
    }

    /// Appends the object with this `apiVersion` in place of the stored one, for versions whose fields are equal.
    pub fn write_json_as(&self, out: &mut Vec<u8>, api_version: &str) {
        out.extend_from_slice(b"{\"kind\":");
        write_json(out, &Value::from(self.encoded.resource.kind));
        out.extend_from_slice(b",\"apiVersion\":");
        write_json(out, &Value::from(api_version));
        out.push(b',');
        self.write_range(out, self.encoded.cuts.fields, self.encoded.json.len());
    }

    /// The object's metadata where it stands without the rest. The annotation that counts a DaemonSet's templates is a field
    /// in disguise and belongs to the rest.
    ///
    /// Source: kubernetes `pkg/apis/apps/v1/conversion.go`.
    pub fn metadata_alone(&self) -> Value {
        let mut metadata = self.to_value()["metadata"].take();
        if self.encoded.resource == crate::resource::DAEMON_SETS
            && let Some(members) = metadata.as_object_mut()
            && let Some(annotations) = members.get_mut("annotations").and_then(Value::as_object_mut)
        {
            annotations.remove(TEMPLATE_GENERATION);
            if annotations.is_empty() {
                members.remove("annotations");
            }
        }
        metadata
    }

    /// Appends the object's metadata as a `meta.k8s.io` `PartialObjectMetadata` of this version (`v1`, `v1beta1`).
    pub fn write_partial(&self, out: &mut Vec<u8>, version: &str) {
        if self.encoded.resource == crate::resource::DAEMON_SETS {
            let partial = serde_json::json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": self.metadata_alone(),
            });
            write_json(out, &partial);
            return;
        }
        let cuts = &self.encoded.cuts;
        out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
        out.extend_from_slice(version.as_bytes());
        out.push(b'"');
        if cuts.metadata_end > 0 {
            out.push(b',');
            self.write_range(out, cuts.fields, cuts.metadata_end);
        }
        out.push(b'}');
    }

    /// Appends a part of the encoded bytes, with the resource version where it belongs.
    fn write_range(&self, out: &mut Vec<u8>, from: usize, to: usize) {
        let Encoded { json, cuts, .. } = &*self.encoded;
        // Revision 0 is that of an object that was never committed, such as the answer to a dry run: it shows none.
        if !(from..to).contains(&cuts.splice) || cuts.splice == 0 || self.revision == Revision(0) {
            out.extend_from_slice(&json[from..to]);
            return;
        }
        out.reserve(to - from + 48);
        out.extend_from_slice(&json[from..cuts.splice]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(if cuts.alone { b"\"" } else { b"\"," });
        out.extend_from_slice(&json[cuts.splice..to]);
    }

    /// The whole object, decoded afresh, resource version included. Costs a parse: for patches and rare readers.
    pub fn to_value(&self) -> Value {
        let mut value: Value =
            serde_json::from_slice(&self.encoded.json).expect("stored bytes were made by encoding a JSON value");
        if self.revision > Revision(0) {
            value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        }
        value
    }

    /// The object without what stands beside type and metadata, decoded afresh, resource version included. `None` when it
    /// has no metadata.
    pub fn head(&self) -> Option<Value> {
        let end = self.encoded.cuts.metadata_end;
        if end == 0 {
            return None;
        }
        let mut json = Vec::with_capacity(end + 48);
        self.write_range(&mut json, 0, end);
        json.push(b'}');
        serde_json::from_slice(&json).ok()
    }

    /// The same object without the decoded view that readers of this one share: for keeping many that few will read.
    #[must_use]
    pub fn without_view(&self) -> Self {
        Self::new(Arc::clone(&self.encoded), self.revision)
    }

    /// A typed view for reading, decoded at the first call and shared from then on. A second type asked of the same
    /// object is decoded on each call.
    ///
    /// Errors: the object does not fit the type, which validation rules out for objects that went through the registry.
    pub fn view<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, serde_json::Error> {
        if let Some(view) = self.view.get()
            && let Ok(view) = Arc::clone(view).downcast::<T>()
        {
            return Ok(view);
        }
        let mut json = Vec::with_capacity(self.encoded.json.len() + 40);
        self.write_json(&mut json);
        let view: Arc<T> = Arc::new(serde_json::from_slice(&json)?);
        // A race decodes twice; both results are equal.
        let _ = self.view.set(Arc::clone(&view) as Arc<dyn Any + Send + Sync>);
        Ok(view)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = self.meta();
        write!(
            f,
            "{} {}/{}@{}",
            self.resource().kind,
            meta.namespace,
            meta.name,
            self.revision
        )
    }
}

/// The fields that name an object's type, as they come first in its bytes.
const TYPE_FIELDS: [&str; 2] = ["kind", "apiVersion"];

fn write_field(out: &mut Vec<u8>, name: &str, field: &Value) {
    if out.len() > 1 {
        out.push(b',');
    }
    write_json(out, &Value::from(name));
    out.push(b':');
    write_json(out, field);
}

fn write_json(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("writing JSON into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "u", "resourceVersion": "7"},
               "spec": {"nodeName": "n", "containers": []}})
    }

    #[test]
    fn the_revision_of_the_commit_is_spliced_into_the_shared_bytes() {
        let object = Object::new(Arc::new(Encoded::new(resource::PODS, pod())), Revision(42));
        let mut out = Vec::new();
        object.write_json(&mut out);
        let written: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(written["metadata"]["resourceVersion"], "42");
        assert_eq!(written, object.to_value());
        assert_eq!(object.meta().node, "n");
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_form_is_cut_from_the_same_bytes() {
        let role = json!({"aggregationRule": {}, "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "resourceVersion": "7"}});
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}});
        for value in [pod(), role, bare] {
            let object = Object::from_value(resource::PODS, value);
            let whole = object.to_value();
            let mut item = whole.clone();
            item.as_object_mut()
                .unwrap()
                .retain(|name, _| name != "kind" && name != "apiVersion");
            assert_eq!(written(|out| object.write_json(out)), whole);
            assert_eq!(written(|out| object.write_item(out)), item);
            let mut other = whole.clone();
            other["apiVersion"] = "v2".into();
            assert_eq!(written(|out| object.write_json_as(out, "v2")), other);
            assert_eq!(
                written(|out| object.write_partial(out, "v1")),
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": whole["metadata"]})
            );
        }
    }

    #[test]
    fn metadata_is_replaced_without_touching_the_rest() {
        let bare = json!({"metadata": {"name": "p"}, "data": {"a": "b"}});
        let empty = json!({"kind": "Pod", "metadata": {}});
        for value in [pod(), bare, empty] {
            let object = Object::new(Arc::new(Encoded::new(resource::PODS, value.clone())), Revision(3));
            let mut head = object.head().unwrap();
            assert_eq!(head["metadata"]["resourceVersion"], "3");
            assert!(head.get("spec").is_none() && head.get("data").is_none());
            head["metadata"]["labels"] = json!({"x": "y"});
            let mut whole = object.to_value();
            whole["metadata"] = head["metadata"].clone();
            let changed = object.encoded().with_metadata(&head["metadata"]);
            let expected = Encoded::new(resource::PODS, whole);
            assert_eq!(changed.json, expected.json);
            assert_eq!(changed.meta, expected.meta);
            let changed = Object::new(Arc::new(changed), Revision(4));
            let expected = Object::new(Arc::new(expected), Revision(4));
            assert_eq!(
                written(|out| changed.write_partial(out, "v1")),
                written(|out| expected.write_partial(out, "v1"))
            );
            assert_eq!(
                written(|out| changed.write_item(out)),
                written(|out| expected.write_item(out))
            );
        }
    }

    #[test]
    fn views_are_decoded_once_and_shared() {
        let object = Object::from_value(resource::PODS, pod());
        let first = object.view::<k8s_openapi::api::core::v1::Pod>().unwrap();
        let second = object.view::<k8s_openapi::api::core::v1::Pod>().unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.metadata.resource_version.as_deref(), Some("7"));
    }
}
