//! Any Kubernetes API server, over HTTPS.
//!
//! Transport, TLS and credentials are kube-rs'; the requests are ours, because writes are values here and objects are
//! kept whole. A write is one request. There are no transactions: [`Cluster::transact`] stops at the first refusal.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use rota_api::{ApiError, Change, Object, PatchKind, Precondition, Propagation, Reason, Resource, Revision, Write};
use serde_json::{Map, Value, json};

use crate::port::{Cluster, EventKind, Listing, Refusal, Selection, Watch, WatchEvent, Written};

/// How many objects one page of a list holds.
const PAGE_MAX: usize = 500;
/// How long the server is asked to keep one watch open, in seconds.
const WATCH_SECS: u32 = 290;
/// The longest line of a watch that is read: an object of the largest size a server takes, and its frame.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The adapter.
#[derive(Clone)]
pub struct RemoteCluster {
    client: kube::Client,
}

impl RemoteCluster {
    /// The cluster that `config` leads to.
    ///
    /// Errors: the credentials cannot be used.
    pub fn connect(config: kube::Config) -> Result<Self, kube::Error> {
        Ok(Self {
            client: kube::Client::try_from(config)?,
        })
    }

    /// The answer to one request, as JSON.
    ///
    /// Errors: the server refused, with its own words; or `ServiceUnavailable` when it cannot be reached.
    pub async fn request(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Value, ApiError> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let response = self.send(method, path, content, bytes).await?;
        let code = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|e| unreachable_error(&e))?
            .to_bytes();
        let value: Value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&bytes).trim_end()}));
        if code >= 400 {
            Err(ApiError::from_status(&value, code))
        } else {
            Ok(value)
        }
    }

    /// The bytes of a streamed answer, such as a pod's log.
    ///
    /// Errors: as for [`RemoteCluster::request`].
    pub async fn stream(&self, path: &str) -> Result<Body, ApiError> {
        let response = self.send(Method::GET, path, "", Vec::new()).await?;
        let code = response.status().as_u16();
        if code < 400 {
            return Ok(response.into_body());
        }
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|e| unreachable_error(&e))?
            .to_bytes();
        Err(ApiError::from_status(
            &serde_json::from_slice(&bytes).unwrap_or_default(),
            code,
        ))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<http::Response<Body>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", "application/json");
        if !content.is_empty() {
            request = request.header("content-type", content);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|e| ApiError::bad_request(format!("request path {path:?}: {e}")))?;
        self.client.send(request).await.map_err(|e| unreachable_error(&e))
    }
}

#[async_trait]
impl Cluster for RemoteCluster {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        let path = object_path(resource, namespace, name, None);
        let value = self.request(Method::GET, &path, "", &Value::Null).await?;
        Ok(Arc::new(Object::from_value(resource, value)))
    }

    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError> {
        let base = collection_path(resource, selection.namespace.as_deref().unwrap_or_default());
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let query = selection_query(selection, &[("limit", &PAGE_MAX.to_string()), ("continue", &token)]);
            let mut page = self
                .request(Method::GET, &format!("{base}?{query}"), "", &Value::Null)
                .await?;
            let api_version = resource.api_version();
            for mut item in page["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
                // Items of a list leave out what the list says for all of them.
                item["apiVersion"] = api_version.as_str().into();
                item["kind"] = resource.kind.into();
                items.push(Arc::new(Object::from_value(resource, item)));
            }
            let metadata = &page["metadata"];
            match metadata["continue"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => {
                    return Ok(Listing {
                        items,
                        revision: revision(metadata),
                    });
                }
            }
        }
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError> {
        let base = collection_path(resource, selection.namespace.as_deref().unwrap_or_default());
        let query = selection_query(
            selection,
            &[
                ("watch", "true"),
                ("resourceVersion", &from.to_string()),
                ("timeoutSeconds", &WATCH_SECS.to_string()),
            ],
        );
        let body = self.stream(&format!("{base}?{query}")).await?;
        let lines = Lines {
            body,
            buffer: Vec::new(),
            scanned: 0,
        };
        Ok(Box::pin(stream::unfold(Some(lines), move |lines| async move {
            let mut lines = lines?;
            loop {
                let event = match lines.next().await {
                    Ok(Some(line)) => event(resource, &line),
                    Ok(None) => return None,
                    Err(error) => Err(error),
                };
                match event {
                    Ok(Some(event)) => return Some((Ok(event), Some(lines))),
                    // A bookmark only says how far the server is.
                    Ok(None) => {}
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })))
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        let (method, path, content, body) = request_of(&write);
        let deletes = matches!(write.change, Change::Delete(_));
        let answer = self.request(method, &path, content, &body).await?;
        if answer["kind"] == "Status" && !deletes {
            // Bindings and evictions answer with a Status: the object itself is read back.
            return Ok(Written::Present(
                self.get(write.resource, &write.namespace, &write.name).await?,
            ));
        }
        if !deletes {
            return Ok(Written::Present(Arc::new(Object::from_value(write.resource, answer))));
        }
        if answer["kind"] == "Status" {
            let mut last = json!({"metadata": {"name": write.name}});
            if !write.namespace.is_empty() {
                last["metadata"]["namespace"] = write.namespace.into();
            }
            last["metadata"]["uid"] = answer["details"]["uid"].clone();
            return Ok(Written::Gone(Arc::new(Object::from_value(write.resource, last))));
        }
        let object = Arc::new(Object::from_value(write.resource, answer));
        let ends = object.to_value()["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .is_some_and(|secs| secs > 0);
        Ok(if ends || !object.meta().finalizers.is_empty() {
            Written::Present(object)
        } else {
            Written::Gone(object)
        })
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Vec<Written>, Refusal> {
        let mut written = Vec::with_capacity(writes.len());
        for (at, write) in writes.into_iter().enumerate() {
            written.push(self.write(write).await.map_err(|error| Refusal { at, error })?);
        }
        Ok(written)
    }
}

/// Method, path, content type and body of a write.
fn request_of(write: &Write) -> (Method, String, &'static str, Value) {
    let path = |subresource| object_path(write.resource, &write.namespace, &write.name, subresource);
    match &write.change {
        Change::Create(object) => (
            Method::POST,
            collection_path(write.resource, &write.namespace),
            "application/json",
            object.clone(),
        ),
        Change::Update { object, subresource } => (
            Method::PUT,
            path(*subresource),
            "application/json",
            guarded(object.clone(), &write.precondition),
        ),
        Change::Patch {
            kind,
            patch,
            subresource,
        } => {
            let (content, body) = match kind {
                PatchKind::Json => (
                    "application/json-patch+json",
                    guarded_json_patch(patch, &write.precondition),
                ),
                PatchKind::Merge => (
                    "application/merge-patch+json",
                    guarded(patch.clone(), &write.precondition),
                ),
                PatchKind::Strategic => (
                    "application/strategic-merge-patch+json",
                    guarded(patch.clone(), &write.precondition),
                ),
                PatchKind::Apply => ("application/apply-patch+yaml", patch.clone()),
            };
            (Method::PATCH, path(*subresource), content, body)
        }
        Change::Delete(options) => {
            let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
            if let Some(secs) = options.grace_period_secs {
                body["gracePeriodSeconds"] = secs.into();
            }
            if let Some(propagation) = options.propagation {
                body["propagationPolicy"] = match propagation {
                    Propagation::Orphan => "Orphan",
                    Propagation::Background => "Background",
                    Propagation::Foreground => "Foreground",
                }
                .into();
            }
            if let Some(orphan) = options.orphan_dependents {
                body["orphanDependents"] = orphan.into();
            }
            let conditions = preconditions(&write.precondition);
            if !conditions.is_empty() {
                body["preconditions"] = conditions.into();
            }
            (Method::DELETE, path(None), "application/json", body)
        }
        Change::Post { subresource, body } => (Method::POST, path(Some(subresource)), "application/json", body.clone()),
    }
}

fn preconditions(precondition: &Precondition) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(uid) = &precondition.uid {
        fields.insert("uid".to_owned(), uid.as_str().into());
    }
    if let Some(revision) = precondition.revision {
        fields.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
    fields
}

/// The body with the precondition in its metadata, where servers check it.
fn guarded(mut body: Value, precondition: &Precondition) -> Value {
    let conditions = preconditions(precondition);
    if !conditions.is_empty() {
        if !body["metadata"].is_object() {
            body["metadata"] = json!({});
        }
        for (field, value) in conditions {
            body["metadata"][field] = value;
        }
    }
    body
}

fn guarded_json_patch(patch: &Value, precondition: &Precondition) -> Value {
    let mut operations: Vec<Value> = preconditions(precondition)
        .into_iter()
        .map(|(field, value)| json!({"op": "test", "path": format!("/metadata/{field}"), "value": value}))
        .collect();
    operations.extend(patch.as_array().cloned().unwrap_or_default());
    operations.into()
}

fn collection_path(resource: &Resource, namespace: &str) -> String {
    let prefix = if resource.group.is_empty() {
        "/api/".to_owned()
    } else {
        format!("/apis/{}/", resource.group)
    };
    if namespace.is_empty() {
        format!("{prefix}{}/{}", resource.version, resource.plural)
    } else {
        format!(
            "{prefix}{}/namespaces/{namespace}/{}",
            resource.version, resource.plural
        )
    }
}

fn object_path(resource: &Resource, namespace: &str, name: &str, subresource: Option<&str>) -> String {
    let base = format!("{}/{name}", collection_path(resource, namespace));
    match subresource {
        Some(subresource) => format!("{base}/{subresource}"),
        None => base,
    }
}

fn selection_query(selection: &Selection, further: &[(&str, &str)]) -> String {
    let own = [
        ("labelSelector", selection.labels.as_str()),
        ("fieldSelector", selection.fields.as_str()),
    ];
    let pairs: Vec<String> = own
        .iter()
        .chain(further)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

/// Percent-encodes a query value.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn revision(metadata: &Value) -> Revision {
    Revision(
        metadata["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    )
}

fn unreachable_error(error: &dyn std::error::Error) -> ApiError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    ApiError::new(
        Reason::ServiceUnavailable,
        format!("the API server cannot be reached: {text}"),
    )
}

/// One line of a watch; `None` for a bookmark.
fn event(resource: &'static Resource, line: &[u8]) -> Result<Option<WatchEvent>, ApiError> {
    let mut frame: Value = serde_json::from_slice(line)
        .map_err(|e| ApiError::internal(format!("the watch of {} sent no JSON: {e}", resource.plural)))?;
    let object = frame["object"].take();
    let kind = match frame["type"].as_str() {
        Some("ADDED") => EventKind::Added,
        Some("MODIFIED") => EventKind::Modified,
        Some("DELETED") => EventKind::Deleted,
        Some("BOOKMARK") => return Ok(None),
        _ => {
            let code = object["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(500);
            return Err(ApiError::from_status(&object, code));
        }
    };
    Ok(Some(WatchEvent {
        kind,
        object: Arc::new(Object::from_value(resource, object)),
    }))
}

/// The lines of a streamed body.
struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.scanned + end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.scanned = 0;
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                continue;
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ApiError::internal(
                    "a line of the watch is longer than any object may be",
                ));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(unreachable_error(&error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;

    #[test]
    fn preconditions_travel_where_servers_check_them() {
        let write = Write::merge_status(resource::JOBS, "d", "pi", json!({"status": {"active": 1}}))
            .if_uid("u")
            .if_revision(Revision(7));
        let (method, path, content, body) = request_of(&write);
        assert_eq!(
            (method, path.as_str()),
            (Method::PATCH, "/apis/batch/v1/namespaces/d/jobs/pi/status")
        );
        assert_eq!(content, "application/merge-patch+json");
        assert_eq!(
            body,
            json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"active": 1}})
        );
    }

    #[test]
    fn selectors_are_encoded_in_queries() {
        let selection = Selection {
            labels: "a in (b,c)".to_owned(),
            ..Selection::all()
        };
        assert_eq!(
            selection_query(&selection, &[("continue", "")]),
            "labelSelector=a%20in%20%28b%2Cc%29"
        );
    }

    #[test]
    fn an_error_frame_of_a_watch_becomes_its_refusal() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        assert_eq!(event(resource::PODS, line).unwrap_err().reason(), Reason::Expired);
    }
}
