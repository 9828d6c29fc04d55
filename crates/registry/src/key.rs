//! Where objects live in the store.
//!
//! `/{group}/{plural}/{namespace}/{name}`, without the namespace for cluster-scoped kinds, `core` for the group without a
//! name. The tail behind the plural is the key inside a kind; lists are in its order, which is upstream's.

use bytes::Bytes;
use rota_api::Resource;

/// What all keys of a kind begin with.
pub(crate) fn prefix(resource: &'static Resource) -> String {
    let resource = resource.stored();
    let group = match resource.group {
        "" => "core",
        group => group,
    };
    format!("/{group}/{}/", resource.plural)
}

/// The key inside a kind.
pub(crate) fn tail(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// The key in the store.
pub(crate) fn of(resource: &'static Resource, namespace: &str, name: &str) -> Bytes {
    let mut key = prefix(resource);
    if !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    key.into()
}

/// Splits a store key into the kind's prefix and the tail.
pub(crate) fn split(key: &Bytes) -> Option<(&[u8], Bytes)> {
    let mut slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slashes.nth(2)?.0 + 1;
    Some((&key[..end], key.slice(end..)))
}

/// The first key behind all that begin with `prefix`.
pub(crate) fn behind(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    // Prefixes end in `/`, so the last byte can always be counted up.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;

    #[test]
    fn keys_name_group_plural_namespace_and_name() {
        assert_eq!(of(resource::PODS, "d", "p"), "/core/pods/d/p");
        assert_eq!(of(resource::NODES, "", "n"), "/core/nodes/n");
        assert_eq!(of(resource::CRON_JOBS_V1BETA1, "d", "c"), "/batch/cronjobs/d/c");
        assert_eq!(of(resource::EVENTS_V1, "d", "e"), "/core/events/d/e");
    }

    #[test]
    fn a_key_splits_into_the_kind_and_the_rest() {
        let key = of(resource::JOBS, "d", "j");
        let (kind, tail) = split(&key).unwrap();
        assert_eq!(kind, b"/batch/jobs/");
        assert_eq!(tail, "d/j");
    }
}
