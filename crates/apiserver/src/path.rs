//! What a request is about: the verb and the object that authorization and routing speak of, read from method and path.
//!
//! A pure function of method, path and query. Whether such a resource exists, and who may ask, is decided elsewhere.
//!
//! Source: `spec/api.md` §1.1; kubernetes `apiserver/pkg/endpoints/request/requestinfo.go`.

use crate::query::{Query, unescape};

/// A request, as rules about requests name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The decoded path.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection` for resources; the method in
    /// lower case elsewhere. Empty for methods that no resource has.
    pub verb: String,
    /// True when the path names a resource.
    pub is_resource: bool,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version of the group.
    pub version: String,
    /// The namespace; empty when the path has none.
    pub namespace: String,
    /// The resource by its plural name.
    pub resource: String,
    /// The name of the object; empty for collections.
    pub name: String,
    /// The subresource; empty for the object itself.
    pub subresource: String,
    /// What follows the subresource, such as the path behind `proxy`.
    pub rest: Vec<String>,
    /// True when the path is in the older form `/api/v1/watch/…`.
    pub watch_prefix: bool,
}

impl RequestInfo {
    /// Reads a request.
    ///
    /// Errors: the path is not UTF-8 once its percent encoding is undone.
    pub fn parse(method: &http::Method, encoded_path: &str, query: &Query) -> Option<Self> {
        let path = unescape(encoded_path, false)?;
        let mut info = Self {
            verb: method.as_str().to_ascii_lowercase(),
            ..Self::default()
        };
        let trimmed = path.trim_matches('/');
        let mut parts: Vec<&str> = trimmed.split('/').collect();
        if let Some(prefix) = take_prefix(&mut parts, &mut info) {
            info.read_resource(method, prefix, query);
        }
        info.path = path;
        Some(info)
    }

    fn read_resource(&mut self, method: &http::Method, parts: &[&str], query: &Query) {
        self.is_resource = true;
        self.verb = match method.as_str() {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        }
        .to_owned();
        let mut parts = parts;
        if let ["watch", rest @ ..] = parts
            && !rest.is_empty()
        {
            self.watch_prefix = true;
            self.verb = "watch".to_owned();
            parts = rest;
        }
        if let ["namespaces", namespace, rest @ ..] = parts {
            self.namespace = (*namespace).to_owned();
            if !matches!(rest, [] | ["status" | "finalize", ..]) {
                parts = rest;
            }
        }
        let mut parts = parts.iter().map(|part| (*part).to_owned());
        self.resource = parts.next().unwrap_or_default();
        self.name = parts.next().unwrap_or_default();
        self.subresource = parts.next().unwrap_or_default();
        self.rest = parts.collect();
        if self.name.is_empty() {
            self.read_collection(query);
        }
    }

    /// Without a name, reading means listing or watching, and deleting means the whole collection.
    fn read_collection(&mut self, query: &Query) {
        match self.verb.as_str() {
            "get" if query.flag("watch").unwrap_or_default() => self.verb = "watch".to_owned(),
            "get" => self.verb = "list".to_owned(),
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => {}
        }
    }

    /// The name that authorization sees: that of the path, or the one to which a field selector limits a collection.
    pub fn authorized_name<'a>(&'a self, query: &'a Query) -> &'a str {
        if !self.name.is_empty() || !matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            return &self.name;
        }
        query
            .text("fieldSelector")
            .strip_prefix("metadata.name=")
            .map(|name| name.strip_prefix('=').unwrap_or(name))
            .filter(|name| !name.contains([',', '=', '\\', '!']))
            .unwrap_or_default()
    }

    /// `jobs` or `jobs/status`.
    pub fn resource_and_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// Takes `api/{version}` or `apis/{group}/{version}` off the front; `None` when no resource can follow.
fn take_prefix<'a, 'b>(parts: &'b mut Vec<&'a str>, info: &mut RequestInfo) -> Option<&'b [&'a str]> {
    match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            info.version = (*version).to_owned();
            Some(rest)
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            info.group = (*group).to_owned();
            info.version = (*version).to_owned();
            Some(rest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb group/version namespace resource name subresource`, with `-` for what is empty.
    fn check(method: &str, path: &str, expected: &str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::parse(&method.parse().unwrap(), path, &Query::parse(query)).unwrap();
        let fields = [
            &info.verb,
            &format!("{}/{}", info.group, info.version),
            &info.namespace,
            &info.resource,
            &info.name,
            &info.subresource,
        ];
        let shown: Vec<&str> = fields
            .iter()
            .map(|f| if f.is_empty() { "-" } else { f.as_str() })
            .collect();
        assert_eq!(shown.join(" "), expected, "{method} {path}");
    }

    #[test]
    fn objects_and_collections_are_told_apart() {
        check("GET", "/api/v1/namespaces/d/pods", "list /v1 d pods - -");
        check("GET", "/api/v1/namespaces/d/pods/p", "get /v1 d pods p -");
        check("GET", "/apis/batch/v1/jobs", "list batch/v1 - jobs - -");
        check("POST", "/apis/batch/v1/namespaces/d/jobs", "create batch/v1 d jobs - -");
        check("DELETE", "/api/v1/namespaces/d/pods", "deletecollection /v1 d pods - -");
        check("DELETE", "/api/v1/nodes/n", "delete /v1 - nodes n -");
    }

    #[test]
    fn namespaces_are_a_resource_with_two_subresources() {
        check("GET", "/api/v1/namespaces", "list /v1 - namespaces - -");
        check("GET", "/api/v1/namespaces/d", "get /v1 d namespaces d -");
        check(
            "PUT",
            "/api/v1/namespaces/d/finalize",
            "update /v1 d namespaces d finalize",
        );
        check("PUT", "/api/v1/namespaces/d/status", "update /v1 d namespaces d status");
        check(
            "GET",
            "/api/v1/namespaces/d/services/s/status",
            "get /v1 d services s status",
        );
    }

    #[test]
    fn a_watch_is_a_collection_with_the_parameter_or_the_old_prefix() {
        check("GET", "/api/v1/pods?watch=1", "watch /v1 - pods - -");
        check("GET", "/api/v1/pods?watch=false", "list /v1 - pods - -");
        check("GET", "/api/v1/namespaces/d/pods/p?watch=1", "get /v1 d pods p -");
        check("GET", "/api/v1/watch/namespaces/d/pods", "watch /v1 d pods - -");
        check(
            "GET",
            "/apis/batch/v1/watch/namespaces/d/jobs/j",
            "watch batch/v1 d jobs j -",
        );
    }

    #[test]
    fn paths_without_a_resource_keep_their_method() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis/batch",
            "/apis/batch/v1",
            "/healthz",
            "/version/",
        ] {
            let info = RequestInfo::parse(&http::Method::GET, path, &Query::default()).unwrap();
            assert!(!info.is_resource, "{path}");
            assert_eq!((info.verb.as_str(), info.path.as_str()), ("get", path));
        }
    }

    #[test]
    fn encoded_slashes_separate_as_plain_ones_do() {
        check(
            "GET",
            "/api/v1/namespaces/d/configmaps/a%2Fb",
            "get /v1 d configmaps a b",
        );
    }

    #[test]
    fn a_selected_name_is_authorized_as_that_name() {
        let query = Query::parse("watch=1&fieldSelector=metadata.name%3Dleader");
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/namespaces/d/configmaps", &query).unwrap();
        assert_eq!(info.authorized_name(&query), "leader");
        let two = Query::parse("fieldSelector=metadata.name%3Da,metadata.namespace%3Db");
        assert_eq!(info.authorized_name(&two), "");
    }
}
