//! Values that become known only when an earlier create of the same transaction is done.

use std::borrow::Cow;

use rota_api::{ApiError, Change, Link, Write};
use serde_json::Value;

use super::Draft;
use crate::session::Session;

/// The write with its links filled in.
///
/// Errors: 500 for a link that leads nowhere: a fault of the planner, not of a client.
pub(super) fn fill_in<'w>(
    session: &Session<'_>,
    drafts: &[Draft],
    write: &'w Write,
) -> Result<Cow<'w, Write>, ApiError> {
    if write.links.is_empty() {
        return Ok(Cow::Borrowed(write));
    }
    let mut write = write.clone();
    for link in std::mem::take(&mut write.links) {
        let source = drafts
            .get(link.created_by)
            .and_then(|draft| session.field(draft.place, &link.field));
        let found = match (source, body(&mut write.change)) {
            (Some(value), Some(body)) => set(body, &link.pointer, value),
            _ => false,
        };
        if !found {
            return Err(ApiError::internal(lost(&write, &link)));
        }
    }
    Ok(Cow::Owned(write))
}

fn lost(write: &Write, link: &Link) -> String {
    format!(
        "{write}: {} cannot be filled in from {} of write {}",
        link.pointer, link.field, link.created_by
    )
}

fn body(change: &mut Change) -> Option<&mut Value> {
    match change {
        Change::Create(body)
        | Change::Update { object: body, .. }
        | Change::Patch { patch: body, .. }
        | Change::Post { body, .. } => Some(body),
        Change::Delete(_) => None,
    }
}

/// Sets the place that a JSON pointer names; its last part may be new. False when the way there does not exist.
fn set(body: &mut Value, pointer: &str, value: Value) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return false;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match body.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.insert(last, value);
            true
        }
        Some(Value::Array(list)) if last == "-" => {
            list.push(value);
            true
        }
        Some(Value::Array(list)) => match last.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
            Some(place) => {
                *place = value;
                true
            }
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pointer_may_name_a_new_field_and_the_end_of_a_list() {
        let mut body = json!({"status": {"active": [{"name": "a"}]}});
        assert!(set(&mut body, "/status/active/0/uid", json!("u")));
        assert!(set(&mut body, "/status/active/-", json!({"name": "b"})));
        assert!(!set(&mut body, "/spec/x", json!(1)));
        assert_eq!(
            body,
            json!({"status": {"active": [{"name": "a", "uid": "u"}, {"name": "b"}]}})
        );
    }
}
