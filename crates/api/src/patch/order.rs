//! The order of a merged list.
//!
//! Elements that the patch names come in the patch's order; elements that only the server has keep their order among
//! themselves and stand in front of the first patch element that followed them on the server.
//!
//! Source: `apimachinery/pkg/util/strategicpatch/patch.go` (`normalizeElementOrder`).

use std::collections::HashMap;

use serde_json::Value;

/// What tells the elements of a list apart: the value of their merge key, or the scalar itself.
pub(super) fn identity<'a>(item: &'a Value, merge_key: Option<&str>) -> Option<&'a Value> {
    match merge_key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// What tells the elements of a list apart, to be kept while the list changes.
pub(super) fn identities(list: &[Value], merge_key: Option<&str>) -> Vec<Option<Value>> {
    list.iter().map(|item| identity(item, merge_key).cloned()).collect()
}

/// Puts `merged` in order: as `wanted` says for the elements it names, as `server` had them for the rest. Both are identities.
pub(super) fn arrange(
    merged: Vec<Value>,
    wanted: &[Option<&Value>],
    server: &[Option<Value>],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let wanted = places(wanted.iter().copied());
    let server = places(server.iter().map(Option::as_ref));
    let place_wanted = |item: &Value| wanted.get(&identity(item, merge_key)?.to_string()).copied();
    let place = |item: &Value| server.get(&identity(item, merge_key)?.to_string()).copied();
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place_wanted(item).is_some());
    named.sort_by_cached_key(place_wanted);
    // Elements that the server does not have either go last, in the order in which they came.
    others.sort_by_cached_key(|item| place(item).unwrap_or(usize::MAX));

    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) = others.peek() {
            match (place(other), place(&item)) {
                (Some(before), Some(after)) if before < after => arranged.extend(others.next()),
                _ => break,
            }
        }
        arranged.push(item);
    }
    arranged.extend(others);
    arranged
}

/// Where each identity first stands; what is equal reads equal.
fn places<'a>(list: impl Iterator<Item = Option<&'a Value>>) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    for (at, id) in list.enumerate() {
        if let Some(id) = id {
            places.entry(id.to_string()).or_insert(at);
        }
    }
    places
}

/// True when the elements of `patch`, deletions aside, appear in `order` in the same relative order, or one of the two is empty.
pub(super) fn agrees(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> bool {
    if patch.is_empty() || order.is_empty() {
        return true;
    }
    let mut rest = order.iter();
    patch.iter().filter(|item| item.get("$patch").is_none()).all(|item| {
        let id = identity(item, merge_key);
        id.is_some() && rest.any(|have| identity(have, merge_key) == id)
    })
}
