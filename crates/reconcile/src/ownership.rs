//! What it takes to control objects: references to the owner, adopting, letting go, and finding the owner again.
//!
//! Shared by the controllers whose objects are found by a selector, and by whoever creates what it owns. Whose an object is
//! they decide themselves.
//! Source: kubernetes `pkg/controller/controller_ref_manager.go`, `apimachinery/pkg/apis/meta/v1/controller_ref.go`.

use std::sync::Arc;

use rota_api::{Meta, Object, PatchKind, Resource, Write};
use serde_json::{Value, json};

use crate::json::object;
use crate::{Key, Plan, World};

/// The reference by which `owner` controls an object.
pub(crate) fn reference(owner: &Object) -> Value {
    let (resource, meta) = (owner.resource(), owner.meta());
    json!({
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The `ownerReferences` of a patch that takes the owner of that uid away.
pub(crate) fn without(uid: &str) -> Value {
    json!([{"$patch": "delete", "uid": uid}])
}

/// A write that changes nothing, and is refused when `owner` has changed.
pub(crate) fn unchanged(owner: &Object) -> Write {
    let meta = owner.meta();
    let nothing = json!({"metadata": {"uid": meta.uid}});
    Write::merge_status(owner.resource(), &meta.namespace, &meta.name, nothing)
        .if_uid(&meta.uid)
        .if_revision(owner.revision())
}

/// A strategic merge patch of the metadata of this very object.
pub(crate) fn patch(of: &Object, metadata: Value) -> Write {
    let meta = of.meta();
    let patch = object([("metadata", metadata)]);
    let kind = PatchKind::Strategic;
    Write::patch(of.resource(), &meta.namespace, &meta.name, kind, patch, None).if_uid(&meta.uid)
}

/// Adopts and releases these objects.
///
/// Nothing is adopted unless the owner is still what was seen of it: one that is being deleted would take what it adopts
/// along.
pub(crate) fn carry_out<'a>(
    owner: &Object,
    adopted: impl Iterator<Item = &'a Arc<Object>>,
    released: impl Iterator<Item = &'a Arc<Object>>,
    plan: &mut Plan,
) {
    let mut adopted = adopted.peekable();
    if adopted.peek().is_some() {
        plan.act(unchanged(owner), "it may only adopt while it is not being deleted");
    }
    for (position, object) in adopted.enumerate() {
        let write = patch(object, json!({"ownerReferences": [reference(owner)]}));
        let why = "the selector matches and nobody controls it";
        if position == 0 {
            plan.then(write, why);
        } else {
            plan.act(write, why);
        }
    }
    for object in released {
        let owners = json!({"ownerReferences": without(&owner.meta().uid)});
        plan.act(patch(object, owners), "the selector matches no longer");
    }
}

/// The object of this kind that controls another one, if it is still the one that is meant.
pub(crate) fn controller(of: &Meta, kind: &'static Resource, world: &World) -> Option<Key> {
    let owner = of.controller().filter(|owner| owner.kind == kind.kind)?;
    let found = world.get(kind, &of.namespace, &owner.name)?;
    (found.meta().uid == owner.uid).then(|| Key::of(found))
}
