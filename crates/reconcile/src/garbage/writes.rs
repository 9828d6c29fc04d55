//! The writes of the garbage collector.
//!
//! Each is refused when the object of that name is another one by now.
//! Source: `pkg/controller/garbagecollector/operations.go`, `patch.go`.

use rota_api::{Absent, DeleteOptions, Object, Propagation, Write};
use serde_json::{Value, json};

use crate::ownership;

/// Deletes an object, with the grace that it takes itself.
pub(super) fn delete(object: &Object, propagation: Propagation) -> Write {
    let meta = object.meta();
    let options = DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    Write::delete(object.resource(), &meta.namespace, &meta.name, options).if_uid(&meta.uid)
}

/// The same write, refused while one of these owners exists.
pub(super) fn if_gone(write: Write, owners: Vec<Absent>) -> Write {
    owners.into_iter().fold(write, Write::if_absent)
}

/// Takes the references to these owners away.
pub(super) fn drop_references(object: &Object, owners: &[&str]) -> Write {
    let references: Vec<Value> = owners
        .iter()
        .map(|uid| json!({"$patch": "delete", "uid": uid}))
        .collect();
    ownership::patch(object, json!({"ownerReferences": references}))
}

/// Lets the owners go without this object.
pub(super) fn unblock_owners(object: &Object) -> Write {
    let blocking = object.meta().owners.iter().filter(|owner| owner.block_owner_deletion);
    let references: Vec<Value> = blocking
        .map(|owner| json!({"uid": owner.uid, "blockOwnerDeletion": false}))
        .collect();
    ownership::patch(object, json!({"ownerReferences": references}))
}

/// Takes one finalizer off.
pub(super) fn drop_finalizer(object: &Object, finalizer: &str) -> Write {
    ownership::patch(object, json!({"$deleteFromPrimitiveList/finalizers": [finalizer]}))
}
