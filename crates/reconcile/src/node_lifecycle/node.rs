//! A node as this controller reads it.

use std::sync::Arc;

use rota_api::k8s::api::core::v1::{Node, NodeCondition, Taint};
use rota_api::{Object, Revision, Timestamp};

/// A node, decoded.
pub(super) struct NodeView<'a> {
    object: &'a Object,
    view: Arc<Node>,
}

impl<'a> NodeView<'a> {
    /// `None`: the object does not read as a node.
    pub(super) fn of(object: &'a Object) -> Option<Self> {
        let view = object.view::<Node>().ok()?;
        Some(Self { object, view })
    }

    pub(super) fn object(&self) -> &'a Object {
        self.object
    }

    pub(super) fn name(&self) -> &'a str {
        &self.object.meta().name
    }

    pub(super) fn uid(&self) -> &'a str {
        &self.object.meta().uid
    }

    pub(super) fn revision(&self) -> Revision {
        self.object.revision()
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        self.object.meta().created
    }

    /// The value of a label; empty when absent.
    pub(super) fn label(&self, key: &str) -> &'a str {
        self.object.meta().labels.get(key).map_or("", String::as_str)
    }

    pub(super) fn is_unschedulable(&self) -> bool {
        let spec = self.view.spec.as_ref();
        spec.and_then(|spec| spec.unschedulable).unwrap_or_default()
    }

    pub(super) fn taints(&self) -> &[Taint] {
        let spec = self.view.spec.as_ref();
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    pub(super) fn condition(&self, type_: &str) -> Option<&NodeCondition> {
        let conditions = self.view.status.as_ref()?.conditions.as_deref()?;
        conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// `True`, `False` or `Unknown`; `None`: the node has no such condition.
    pub(super) fn status_of(&self, type_: &str) -> Option<&str> {
        self.condition(type_).map(|condition| condition.status.as_str())
    }
}
