//! When an image is pulled, as far as its reference tells.
//!
//! Source: kubernetes `pkg/apis/core/v1/defaults.go`, `pkg/util/parsers`; the grammar of references is the distribution
//! project's.

/// `Always` when the tag is `latest`, or when there is neither tag nor digest; `IfNotPresent` otherwise, also for texts
/// that are no references.
pub(super) fn pull_policy(image: &str) -> &'static str {
    match Reference::parse(image) {
        Some(
            Reference {
                tag: Some("latest"), ..
            }
            | Reference {
                tag: None,
                digest: None,
            },
        ) => "Always",
        _ => "IfNotPresent",
    }
}

struct Reference<'a> {
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn parse(image: &'a str) -> Option<Self> {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let good = is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
        good.then_some(Self { tag, digest })
    }
}

fn is_name(name: &str) -> bool {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain_like(first) => (Some(first), rest),
        _ => (None, name),
    };
    domain.is_none_or(is_domain) && path.split('/').all(is_path_component)
}

/// Whether the part before the first slash is a registry's host, by the convention of the reference grammar.
fn is_domain_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let good_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    good_port && good_host
}

/// Runs of lower-case letters and digits, joined by one dot, one or two underscores, or hyphens.
fn is_path_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    if !component.starts_with(is_word) || !component.ends_with(is_word) {
        return false;
    }
    component
        .split(is_word)
        .filter(|between| !between.is_empty())
        .all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128 && bytes.next().is_some_and(is_word) && bytes.all(|b| is_word(b) || b == b'.' || b == b'-')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn only_moving_references_are_always_pulled() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (image, policy) in [
            ("app", "Always"),
            ("app:latest", "Always"),
            ("host.example:5000/app", "Always"),
            ("host.example:5000/x/app:v1.2", "IfNotPresent"),
            (&format!("app@{digest}"), "IfNotPresent"),
            (&format!("app:latest@{digest}"), "Always"),
            ("APP", "IfNotPresent"),
            ("APP:latest", "IfNotPresent"),
            ("app:", "IfNotPresent"),
            ("a//b", "IfNotPresent"),
            ("", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
