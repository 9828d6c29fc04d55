//! Names: which texts may name what, and how names are made from a prefix.
//!
//! Each rule returns what is wrong in upstream's words, in upstream's order; an empty list means the text is good. Which field
//! follows which rule is not known here.
//!
//! Source: kubernetes `apimachinery/pkg/util/validation/validation.go`, `apimachinery/pkg/api/validate/content`,
//! `apiserver/pkg/storage/names/generate.go`; `spec/api.md` §1.13, §2.2, §2.9.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
/// Characters of generated suffixes: no vowels and no digits that look like letters, so that no words arise.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const BASE_MAX: usize = LABEL_MAX - SUFFIX_LENGTH;

const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_RULE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED_EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];

/// A name made of `base`, cut to 58 characters, and five characters drawn from `random`.
pub fn generate(base: &str, random: u64) -> String {
    let mut name = cut(base, BASE_MAX).to_owned();
    let mut rest = random;
    for _ in 0..SUFFIX_LENGTH {
        let size = SUFFIX_ALPHABET.len() as u64;
        name.push(char::from(SUFFIX_ALPHABET[(rest % size) as usize]));
        rest /= size;
    }
    name
}

/// The longest prefix of `text` with at most `bytes` bytes that ends at a character.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `rule (e.g. 'a',  or 'b', regex used for validation is 'format')`, in upstream's punctuation.
pub fn pattern_message(rule: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{format}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!(
        "{rule} (e.g. {}regex used for validation is '{format}')",
        examples.join(" or ")
    )
}

fn too_long(max: usize, unit: &str) -> String {
    format!("must be no more than {max} {unit}")
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Non-empty, `outer` at both ends, `outer` or one of `inner` between.
fn has_form(text: &str, outer: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    outer(*first) && outer(*last) && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
}

fn is_dns_label_form(text: &str) -> bool {
    has_form(text, is_lower_alphanumeric, b"-")
}

/// A label of a domain name (RFC 1123): at most 63 characters.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX, "characters"));
    }
    if !is_dns_label_form(text) {
        wrong.push(if text.split('.').all(is_dns_label_form) {
            "must not contain dots".to_owned()
        } else {
            pattern_message(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
                 with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

/// A domain name (RFC 1123): at most 253 characters.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    subdomain(text, "characters")
}

fn subdomain(text: &str, unit: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX, unit));
    }
    if !text.split('.').all(is_dns_label_form) {
        wrong.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
             and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    wrong
}

/// A domain name of which the first label is any (RFC 1123): at most 253 characters.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    if !text
        .strip_prefix("*.")
        .is_some_and(|rest| rest.split('.').all(is_dns_label_form))
    {
        wrong.push(pattern_message(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    wrong
}

/// A domain name whose first label may start with an underscore, as setting-based FQDNs allow.
pub fn dns_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    let good = text.split('.').all(|label| {
        let rest = label.strip_prefix('_').unwrap_or(label);
        has_form(rest, is_lower_alphanumeric, b"-_")
    });
    if !good {
        wrong.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must \
             start and end with an alphanumeric character",
            r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    wrong
}

/// A label that starts with a letter (RFC 1035): at most 63 characters.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX, "characters"));
    }
    if !is_dns_label_form(text) || !text.as_bytes()[0].is_ascii_lowercase() {
        wrong.push(pattern_message(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
             and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

/// A name, with an optional domain and a slash before it: the form of label keys, annotation keys, taints, resources.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, rest)) if rest.contains('/') => {
            wrong.push(format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                pattern_message(QUALIFIED_RULE, QUALIFIED_FORMAT, QUALIFIED_EXAMPLES)
            ));
            return wrong;
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            wrong.extend(
                subdomain(prefix, "bytes")
                    .into_iter()
                    .map(|m| format!("prefix part {m}")),
            );
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_long(LABEL_MAX, "bytes")));
    }
    if !has_form(name, is_alphanumeric, b"-_.") {
        wrong.push(format!(
            "name part {}",
            pattern_message(QUALIFIED_RULE, QUALIFIED_FORMAT, QUALIFIED_EXAMPLES)
        ));
    }
    wrong
}

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX, "bytes"));
    }
    if !text.is_empty() && !has_form(text, is_alphanumeric, b"-_.") {
        wrong.push(pattern_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
             and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A text that can stand as one segment of a path.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|part| text.contains(**part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX, "characters"));
    }
    let in_alphabet = |byte: u8| is_alphanumeric(byte) || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(in_alphabet) {
        wrong.push(pattern_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if text == "." || text == ".." {
        wrong.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// The name of a port: at most 15 characters, at least one of them a letter.
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push(too_long(15, "characters"));
    }
    let in_alphabet = |byte: u8| is_lower_alphanumeric(byte) || byte == b'-';
    if text.is_empty() || !text.bytes().all(in_alphabet) {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// The name of an environment variable.
pub fn env_var_name(text: &str) -> Vec<String> {
    let printable = |c: char| (' '..='~').contains(&c) && c != '=';
    if text.is_empty() || !text.chars().all(printable) {
        let rule = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        return vec![rule.to_owned()];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_the_base_and_fit_a_label() {
        assert_eq!(generate("pi-", 0), "pi-bbbbb");
        let long = generate(&"x".repeat(80), u64::MAX);
        assert_eq!(long.len(), 63);
        assert!(dns_label(&long).is_empty());
        assert_ne!(generate("a", 1), generate("a", 2));
    }

    #[test]
    fn prefixes_are_cut_between_characters() {
        assert_eq!(generate(&"é".repeat(40), 0).chars().count(), 29 + 5);
    }

    #[test]
    fn each_rule_tells_what_is_wrong() {
        assert!(dns_subdomain("a.b-c.d1").is_empty());
        assert!(qualified_name("example.com/My.Name").is_empty());
        assert!(label_value("").is_empty());
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("").len(), 2);
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(dns_1035_label("1a").len(), 1);
        assert_eq!(dns_1035_label("").len(), 1);
    }
}
