//! Carrying out cases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::client::{Client, Failure, Reply};
use crate::cluster::Cluster;
use crate::compare::{differences, pick, remove, remove_everywhere, shape_differences};
use crate::pattern::Bindings;

/// How many cases run at the same time.
const CONCURRENCY: usize = 16;
/// How long a silent watch is listened to, and how long an event is waited for.
const SILENCE: Duration = Duration::from_millis(300);
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every reply was as recorded.
    Passed,
    /// The first step that differed, and how.
    Failed(String),
}

/// Carries out all cases; returns what became of each, in order of id.
pub async fn run(cases: Vec<Case>) -> BTreeMap<String, Outcome> {
    let cluster = Cluster::like_recorded().await;
    let clients = Clients {
        admin: Client::new(cluster.address, &cluster.pki, Some(("admin", "system:masters")))
            .expect("a client certificate can be issued"),
        nobody: Client::new(cluster.address, &cluster.pki, None).expect("a client without identity needs nothing"),
    };
    // What needs a forgotten past runs last, so that the others keep theirs.
    let (compacted, others): (Vec<&Case>, Vec<&Case>) = cases
        .iter()
        .partition(|case| case.needs.iter().any(|need| need == "compacted"));
    let run = |(number, case): (usize, &Case)| {
        let (clients, case) = (&clients, case.clone());
        async move {
            let outcome = one(clients, &case, &format!("t{number}")).await;
            (case.id, outcome)
        }
    };
    let mut outcomes: BTreeMap<String, Outcome> = stream::iter(others.iter().copied().enumerate())
        .map(run)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    // The recorded server had one case at a time. In some of them order depends on what happens in the same second: what failed
    // among others is played once more, alone.
    let failed: Vec<&Case> = others
        .into_iter()
        .filter(|case| outcomes[&case.id] != Outcome::Passed)
        .collect();
    for (number, case) in (cases.len()..).zip(failed) {
        let (id, outcome) = run((number, case)).await;
        if outcome == Outcome::Passed {
            outcomes.insert(id, outcome);
        }
    }
    cluster.registry.compact();
    for (number, case) in (2 * cases.len()..).zip(compacted) {
        let (id, outcome) = run((number, case)).await;
        outcomes.insert(id, outcome);
    }
    outcomes
}

struct Clients {
    admin: Client,
    nobody: Client,
}

/// A case while it runs.
struct Running<'a> {
    clients: &'a Clients,
    case: &'a Case,
    bindings: Bindings,
    watches: BTreeMap<String, Events>,
}

async fn one(clients: &Clients, case: &Case, namespace: &str) -> Outcome {
    let mut running = Running {
        clients,
        case,
        bindings: Bindings::new(namespace),
        watches: BTreeMap::new(),
    };
    let namespace = Step {
        method: "POST".to_owned(),
        path: "/api/v1/namespaces".to_owned(),
        body: Some(json!({"metadata": {"name": namespace}}).into()),
        ..Step::default()
    };
    if let Err(error) = running.send(&namespace).await {
        return Outcome::Failed(format!("the namespace cannot be created: {error}"));
    }
    for (at, step) in case.steps.iter().enumerate() {
        if let Some(seconds) = step.pause_s {
            pause(Duration::from_secs_f64(seconds)).await;
        }
        if let Err(why) = running.step(step).await {
            return Outcome::Failed(format!("step {at} {} {}: {why}", step.method, step.path));
        }
    }
    Outcome::Passed
}

/// Waits for so long, and for the next second to begin: times in objects are whole seconds, and steps that were recorded one
/// right after the other fell into one.
async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
    let past = Duration::from_nanos(Timestamp::now().subsec_nanosecond().unsigned_abs().into());
    tokio::time::sleep(Duration::from_secs(1).saturating_sub(past)).await;
}

impl Running<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs_f64(step.poll_s.unwrap_or_default());
        loop {
            let before = self.bindings.clone();
            let result = self.attempt(step).await;
            if result.is_ok() || Instant::now() >= deadline {
                return result;
            }
            self.bindings = before;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn attempt(&mut self, step: &Step) -> Result<(), String> {
        match step.op.as_deref() {
            Some("watch_start") => {
                let response = self
                    .client(step)
                    .open(self.request(step))
                    .await
                    .map_err(|e| e.to_string())?;
                if Some(response.status().as_u16()) != step.expect.code {
                    return Err(format!("code {}", response.status()));
                }
                self.watches
                    .insert(step.watch.clone(), Events::new(response.into_body()));
                Ok(())
            }
            Some(_) => {
                let events = self.watches.get_mut(&step.watch).ok_or("no such watch")?;
                let read = events.read(step.count, step.bookmarks).await;
                self.events(step, read)
            }
            None => {
                let reply = self.send(step).await.map_err(|error| error.to_string())?;
                self.check(step, &reply)
            }
        }
    }

    fn client(&self, step: &Step) -> &Client {
        if step.auth.is_some() {
            &self.clients.nobody
        } else {
            &self.clients.admin
        }
    }

    async fn send(&self, step: &Step) -> Result<Reply, Failure> {
        self.client(step).send(self.request(step)).await
    }

    fn request(&self, step: &Step) -> Request<Full<Bytes>> {
        let fill = |text: &str| self.bindings.fill(text);
        let query = match &step.raw_query {
            Some(raw) => fill(raw),
            None => self.query(step),
        };
        let uri = if query.is_empty() {
            fill(&step.path)
        } else {
            format!("{}?{query}", fill(&step.path))
        };
        let body: Option<Bytes> = match (&step.body, &step.body_text, &step.body_b64) {
            (Some(json), _, _) => Some(fill(&json.0).into()),
            (_, Some(text), _) => Some(fill(text).into()),
            (_, _, Some(encoded)) => Some(STANDARD.decode(encoded).unwrap_or_default().into()),
            _ => None,
        };
        let mut request = Request::builder()
            .method(step.method.as_str())
            .uri(uri.replace(' ', "%20"))
            .header("host", "localhost")
            .header("user-agent", "vectors/1.0");
        let wants_type = matches!(step.method.as_str(), "POST" | "PUT" | "DELETE") && body.is_some();
        let default = wants_type.then_some("application/json");
        if let Some(content_type) = step.content_type.as_deref().or(default) {
            request = request.header("content-type", content_type);
        }
        if let Some(accept) = &step.accept {
            request = request.header("accept", accept);
        }
        if let Some(token) = step.auth.as_deref().and_then(|auth| auth.strip_prefix("bearer ")) {
            request = request.header("authorization", format!("Bearer {}", fill(token)));
        }
        for (name, value) in &step.headers {
            for value in value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]) {
                request = request.header(name, fill(value.as_str().unwrap_or_default()));
            }
        }
        request.body(Full::new(body.unwrap_or_default())).unwrap_or_default()
    }

    fn query(&self, step: &Step) -> String {
        let mut pairs = Vec::new();
        for (name, value) in &step.query {
            for value in value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                pairs.push(format!("{}={}", escape(name), escape(&self.bindings.fill(&value))));
            }
        }
        pairs.join("&")
    }

    fn check(&mut self, step: &Step, reply: &Reply) -> Result<(), String> {
        let expect = &step.expect;
        let text = String::from_utf8_lossy(&reply.body);
        if Some(reply.code) != expect.code {
            return Err(format!(
                "code {} instead of {:?}: {}",
                reply.code,
                expect.code,
                cut(&text)
            ));
        }
        if step.compare.as_deref() == Some("code") {
            return Ok(());
        }
        self.check_headers(step, reply)?;
        if step.stream {
            return self.events(step, events_of(&reply.body, step.bookmarks));
        }
        if let Some(expected) = &expect.text {
            if self.bindings.matches(expected, &text) {
                return Ok(());
            }
            return Err(format!("text: expected {expected:?}, found {text:?}"));
        }
        if let Some(expected) = &expect.body_b64 {
            let actual = STANDARD.encode(&reply.body);
            return if *expected == actual {
                Ok(())
            } else {
                Err(format!("bytes: expected {expected}, found {actual}"))
            };
        }
        let Some(expected) = &expect.body else { return Ok(()) };
        let actual: Value = serde_json::from_slice(&reply.body).map_err(|e| format!("{e}: {}", cut(&text)))?;
        let mut found = self.compare(step, expected.clone(), actual.clone());
        if let (Some(path), Some(expected)) = (&step.jwt, &expect.jwt) {
            let token = path.split('.').fold(&actual, |value, name| &value[name]);
            found.extend(self.compare_token(expected, token.as_str().unwrap_or_default()));
        }
        if found.is_empty() {
            Ok(())
        } else {
            Err(found.join("\n    "))
        }
    }

    fn check_headers(&mut self, step: &Step, reply: &Reply) -> Result<(), String> {
        let value = |name: &str| {
            reply
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if value("content-type") != step.expect.content_type {
            return Err(format!(
                "content type {:?} instead of {:?}",
                value("content-type"),
                step.expect.content_type
            ));
        }
        let warnings: Vec<String> = reply
            .headers
            .get_all("warning")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        let expected = &step.expect.warnings;
        let same = warnings.len() == expected.len()
            && expected
                .iter()
                .zip(&warnings)
                .all(|(expected, actual)| self.bindings.matches(expected, actual));
        if !same {
            return Err(format!("warnings: expected {expected:?}, found {warnings:?}"));
        }
        for (name, expected) in &step.expect.headers {
            let expected = expected.as_str().unwrap_or_default();
            let actual = value(name).unwrap_or_default();
            if !self.bindings.matches(expected, &actual) {
                return Err(format!("header {name}: expected {expected:?}, found {actual:?}"));
            }
        }
        Ok(())
    }

    fn compare(&mut self, step: &Step, mut expected: Value, mut actual: Value) -> Vec<String> {
        if let Some(part) = &step.pick {
            actual = pick(&actual, part);
        }
        self.normalise(&mut actual);
        if step.shape {
            return shape_differences(&expected, &actual, "");
        }
        for pointer in &step.ignore {
            remove(&mut expected, pointer);
            remove(&mut actual, pointer);
        }
        for pointer in &step.sort {
            for document in [&mut expected, &mut actual] {
                if let Some(list) = document.pointer_mut(pointer).and_then(Value::as_array_mut) {
                    list.sort_by_key(Value::to_string);
                }
            }
        }
        if step.expect.loose_message {
            for document in [&mut expected, &mut actual] {
                remove(document, "/message");
                remove(document, "/details/causes/*/message");
                if let Some(causes) = document.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
                    causes.iter_mut().for_each(|cause| remove(cause, "/message"));
                }
            }
        }
        differences(&expected, &actual, &mut self.bindings)
    }

    fn normalise(&self, value: &mut Value) {
        remove_everywhere(value, "columnDefinitions", "description");
        if !self.case.managed_fields {
            remove_everywhere(value, "metadata", "managedFields");
            return;
        }
        sort_managed_fields(value);
    }

    fn compare_token(&mut self, expected: &Value, token: &str) -> Vec<String> {
        let parts: Vec<Value> = token
            .split('.')
            .take(2)
            .map(|part| {
                URL_SAFE_NO_PAD
                    .decode(part)
                    .ok()
                    .and_then(|json| serde_json::from_slice(&json).ok())
                    .unwrap_or_default()
            })
            .collect();
        let [header, claims] = parts.as_slice() else {
            return vec!["the token has no header and claims".to_owned()];
        };
        let mut found = shape_differences(&expected["header"], header, "header");
        found.extend(differences(&expected["claims"], claims, &mut self.bindings));
        found
    }

    fn events(&mut self, step: &Step, actual: Vec<Value>) -> Result<(), String> {
        let Some(expected) = &step.expect.events else {
            return Ok(());
        };
        let found = self.compare(step, Value::Array(expected.clone()), Value::Array(actual));
        if found.is_empty() {
            Ok(())
        } else {
            Err(found.join("\n    "))
        }
    }
}

fn sort_managed_fields(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(entries)) = map.get_mut("managedFields") {
                entries.sort_by_key(|entry| {
                    ["operation", "manager", "apiVersion", "subresource"]
                        .map(|field| entry[field].as_str().unwrap_or_default().to_owned())
                });
            }
            map.values_mut().for_each(sort_managed_fields);
        }
        Value::Array(list) => list.iter_mut().for_each(sort_managed_fields),
        _ => {}
    }
}

/// A watch that stays open.
struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: Vec::new(),
        }
    }

    /// The next events; with a count of 0, those that come although none should.
    async fn read(&mut self, count: usize, bookmarks: bool) -> Vec<Value> {
        let deadline = Instant::now() + if count == 0 { SILENCE } else { EVENT_TIMEOUT };
        let mut events = Vec::new();
        while events.len() < count.max(1) {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                events.extend(events_of(&line, bookmarks));
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                _ => break,
            }
        }
        events
    }
}

/// The events in lines of JSON. Without `bookmarks`, those that only tell progress are left out; several in a row are one.
fn events_of(lines: &[u8], bookmarks: bool) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let plain = event["type"] == "BOOKMARK" && !event.to_string().contains("k8s.io/initial-events-end");
        let repeated = plain && events.last().is_some_and(|last| last["type"] == "BOOKMARK");
        if plain && (!bookmarks || repeated) {
            continue;
        }
        events.push(event);
    }
    events
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}
