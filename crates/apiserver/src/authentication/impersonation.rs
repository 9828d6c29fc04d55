//! Acting as somebody else: who is meant, and which permissions that takes.
//!
//! Source: `spec/api.md` §3.1; kubernetes `apiserver/pkg/endpoints/filters/impersonation`.

use std::collections::BTreeMap;

use http::HeaderMap;
use rota_api::ApiError;

use super::user::{self, User};
use crate::query::unescape;

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Whom a request wants to be, `None` when it does not ask.
///
/// Errors: 400 when something about a user is given but no user.
pub(crate) fn requested(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values.filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    };
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA_PREFIX), value.to_str()) {
            let key = unescape(key, false).unwrap_or_else(|| key.to_owned());
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    let wanted = User {
        name: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: all("impersonate-group"),
        extra,
    };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == User::default() {
        return Ok(None);
    }
    Err(ApiError::bad_request(format!(
        "requested {} without impersonating a user name",
        go_syntax(&wanted)
    )))
}

/// One permission that acting as somebody takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    /// The API group of the resource.
    pub(crate) group: &'static str,
    /// `users`, `groups`, `serviceaccounts`, `uids`, `userextras`.
    pub(crate) resource: &'static str,
    /// The key of an extra.
    pub(crate) subresource: String,
    /// The namespace of a service account.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

/// The permissions (verb `impersonate`) that it takes to act as `wanted`, all of them.
pub(crate) fn permissions(wanted: &User) -> Vec<Permission> {
    let permission = |group, resource, namespace: &str, name: &str| Permission {
        group,
        resource,
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let mut needed = vec![match user::parse_service_account(&wanted.name) {
        Some((namespace, name)) => permission("", "serviceaccounts", namespace, name),
        None => permission("", "users", "", &wanted.name),
    }];
    needed.extend(wanted.groups.iter().map(|group| permission("", "groups", "", group)));
    for (key, values) in &wanted.extra {
        needed.extend(values.iter().map(|value| Permission {
            subresource: key.clone(),
            ..permission("authentication.k8s.io", "userextras", "", value)
        }));
    }
    if !wanted.uid.is_empty() {
        needed.push(permission("authentication.k8s.io", "uids", "", &wanted.uid));
    }
    needed
}

/// The user that the request is carried out as: groups that follow from the name are filled in.
pub(crate) fn effective(mut wanted: User) -> User {
    if wanted.name == user::ANONYMOUS {
        if wanted.groups.is_empty() {
            wanted.groups.push(user::UNAUTHENTICATED.to_owned());
        }
        return wanted;
    }
    if wanted.groups.is_empty()
        && let Some((namespace, _)) = user::parse_service_account(&wanted.name)
    {
        wanted.groups = user::service_account_groups(namespace);
    }
    wanted.authenticated()
}

/// The user as upstream's message dumps it.
fn go_syntax(user: &User) -> String {
    let list = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[]string{{{}}}", values.join(", "))
    };
    let groups = if user.groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        list(&user.groups)
    };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> = user.extra.iter().map(|(k, v)| format!("{k:?}:{}", list(v))).collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        user.name, user.uid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_group_without_a_user_is_refused() {
        let error = requested(&headers(&[("impersonate-group", "x")])).unwrap_err();
        assert_eq!(
            error.message(),
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"x\"}, Extra:map[string][]string(nil)} \
             without impersonating a user name"
        );
    }

    #[test]
    fn each_part_of_the_wanted_identity_takes_its_own_permission() {
        let wanted = requested(&headers(&[
            ("impersonate-user", "system:serviceaccount:d:s"),
            ("impersonate-group", "g"),
            ("impersonate-extra-scopes", "a"),
        ]))
        .unwrap()
        .unwrap();
        let shown: Vec<String> = permissions(&wanted)
            .iter()
            .map(|p| {
                format!(
                    "{}/{}/{} {} {}",
                    p.group, p.resource, p.subresource, p.namespace, p.name
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "/serviceaccounts/ d s",
                "/groups/  g",
                "authentication.k8s.io/userextras/scopes  a"
            ]
        );
    }

    #[test]
    fn groups_that_follow_from_the_name_are_filled_in() {
        let named = |name: &str| {
            effective(User {
                name: name.to_owned(),
                ..User::default()
            })
            .groups
        };
        assert_eq!(named("alice"), ["system:authenticated"]);
        assert_eq!(named("system:anonymous"), ["system:unauthenticated"]);
        assert_eq!(
            named("system:serviceaccount:d:s"),
            [
                "system:serviceaccounts",
                "system:serviceaccounts:d",
                "system:authenticated"
            ]
        );
    }
}
