//! How a pod resolves names.

use super::super::cursor::{Cursor, Errors};
use super::super::network;
use crate::names;

const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;

/// `dnsPolicy`.
pub(super) fn policy(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
    } else {
        errors.check_one_of(at, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    }
}

/// `dnsConfig`.
pub(super) fn config(spec: &Cursor<'_>, errors: &mut Errors) {
    let config = spec.at("dnsConfig");
    let servers = config.at("nameservers");
    if spec.at("dnsPolicy").text() == "None" && servers.is_empty() {
        let detail = if config.is_set() {
            "must provide at least one DNS nameserver when `dnsPolicy` is None"
        } else {
            "must provide `dnsConfig` when `dnsPolicy` is None"
        };
        errors.required(if config.is_set() { &servers } else { &config }, detail);
        return;
    }
    if servers.len() > SERVERS_MAX {
        let detail = format!("must not have more than {SERVERS_MAX} nameservers");
        errors.invalid(&servers, detail);
    }
    for server in servers.items() {
        network::ip(&server, errors);
    }
    let searches = config.at("searches");
    if searches.len() > SEARCHES_MAX {
        errors.invalid(
            &searches,
            format!("must not have more than {SEARCHES_MAX} search paths"),
        );
    }
    let together: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if together > SEARCH_CHARS_MAX + 1 {
        let detail =
            format!("must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list");
        errors.invalid(&searches, detail);
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let name = search.text();
        let name = name.strip_suffix('.').unwrap_or(name);
        for complaint in names::dns_subdomain_with_underscore(name) {
            errors.invalid_as(&search, name, complaint);
        }
    }
    for option in config.at("options").items() {
        if option.at("name").is_empty() {
            errors.required(&option, "must not be empty");
        }
    }
}
