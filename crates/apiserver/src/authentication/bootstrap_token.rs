//! Bootstrap tokens: short secrets by which a machine that has nothing else asks for the certificate of a node.
//!
//! A token is `ID.SECRET`; a Secret `bootstrap-token-ID` in kube-system holds it and says until when and for what it is good.
//!
//! Source: kubernetes `plugin/pkg/auth/authenticator/token/bootstrap`, `cluster-bootstrap/token/api`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rota_api::{Timestamp, resource};
use rota_registry::Registry;
use serde_json::Value;

use super::user::User;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const ID_SIZE: usize = 6;
const SECRET_SIZE: usize = 16;

/// The user of a bootstrap token; `None` for other texts, and for tokens that are not good now.
pub(super) fn user(registry: &Registry, token: &str) -> Option<User> {
    let (id, secret) = token.split_once('.')?;
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if id.len() != ID_SIZE || secret.len() != SECRET_SIZE || !is_plain(id) || !is_plain(secret) {
        return None;
    }
    let stored = registry.get(resource::SECRETS, NAMESPACE, &format!("bootstrap-token-{id}"));
    of_secret(&stored.ok()?.to_value(), id, secret, registry.env().now())
}

fn of_secret(object: &Value, id: &str, secret: &str, now: Timestamp) -> Option<User> {
    let is_gone = !object["metadata"]["deletionTimestamp"].is_null();
    let data = |field: &str| -> Option<String> {
        let bytes = STANDARD.decode(object["data"][field].as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    let is_good = object["type"] == TYPE
        && !is_gone
        && data("token-id").as_deref() == Some(id)
        && data("token-secret").is_some_and(|stored| is_same(&stored, secret))
        && data("usage-bootstrap-authentication").as_deref() == Some("true")
        && data("expiration").is_none_or(|end| end.is_empty() || end.parse::<Timestamp>().is_ok_and(|end| now < end));
    if !is_good {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data("auth-extra-groups")
        .unwrap_or_default()
        .split(',')
        .filter(|group| !group.is_empty())
    {
        // A token cannot make somebody more than a machine that begins.
        groups.push(is_group(group).then(|| group.to_owned())?);
    }
    let user = User {
        name: format!("system:bootstrap:{id}"),
        groups,
        ..User::default()
    };
    Some(user.authenticated())
}

fn is_group(group: &str) -> bool {
    let Some(name) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':' || byte == b'-';
    name.len() <= 256
        && name.bytes().all(is_inner)
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Compares digests, so that the time it takes says nothing about the secret.
fn is_same(a: &str, b: &str) -> bool {
    digest(&SHA256, a.as_bytes()).as_ref() == digest(&SHA256, b.as_bytes()).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(change: impl FnOnce(&mut Value)) -> Value {
        let text = |text: &str| STANDARD.encode(text);
        let mut secret = json!({"type": TYPE, "metadata": {}, "data": {
            "token-id": text("abcdef"), "token-secret": text("0123456789abcdef"),
            "usage-bootstrap-authentication": text("true"), "expiration": text("2026-01-01T00:00:10Z")}});
        change(&mut secret);
        secret
    }

    fn groups(secret: &Value, now: &str) -> Option<Vec<String>> {
        of_secret(secret, "abcdef", "0123456789abcdef", now.parse().unwrap()).map(|user| user.groups)
    }

    const NOW: &str = "2026-01-01T00:00:09Z";

    #[test]
    fn a_token_is_good_until_its_end_and_for_its_use() {
        let good = secret(|_| {});
        assert_eq!(groups(&good, NOW).unwrap()[0], GROUP);
        assert_eq!(groups(&good, "2026-01-01T00:00:10Z"), None);
        let unused = secret(|secret| secret["data"]["usage-bootstrap-authentication"] = Value::Null);
        assert_eq!(groups(&unused, NOW), None);
        let other = secret(|secret| secret["data"]["token-secret"] = STANDARD.encode("0000").into());
        assert_eq!(groups(&other, NOW), None);
    }

    #[test]
    fn a_token_gives_groups_of_machines_that_begin_only() {
        let with = |groups_text: &str| {
            secret(|secret| secret["data"]["auth-extra-groups"] = STANDARD.encode(groups_text).into())
        };
        let given = groups(&with("system:bootstrappers:a"), NOW).unwrap();
        assert!(given.contains(&"system:bootstrappers:a".to_owned()));
        assert_eq!(groups(&with("system:masters"), NOW), None);
    }
}
