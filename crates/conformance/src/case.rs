//! The recorded cases: short scripts of requests with the replies they got.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::verbatim::Verbatim;

/// A script and the replies it got.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// `theme/area/what`; unique.
    pub id: String,
    /// The file it is from.
    pub theme: String,
    /// What it depends on: `fresh` (a namespace of its own), `kcm` (controllers), `compacted` (a forgotten past),
    /// `host-zoneinfo` (zone files of the host).
    #[serde(default)]
    pub needs: Vec<String>,
    /// Whether `managedFields` are compared.
    #[serde(default)]
    pub managed_fields: bool,
    /// The steps, in order, in one namespace.
    pub steps: Vec<Step>,
}

/// A request, or an operation on an open watch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The method.
    pub method: String,
    /// The path, with labels.
    pub path: String,
    /// Name to value or values, not encoded.
    pub query: Map<String, Value>,
    /// The query exactly as it is sent.
    pub raw_query: Option<String>,
    /// Further headers; a list is sent as several.
    pub headers: Map<String, Value>,
    /// Absent: a user who may do everything. `none`: nobody. `bearer X`: that token.
    pub auth: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The media types that are accepted.
    pub accept: Option<String>,
    /// The body as JSON,
    pub body: Option<Verbatim>,
    /// as text,
    pub body_text: Option<String>,
    /// or as bytes in base64.
    pub body_b64: Option<String>,
    /// The reply is a watch that ends by itself.
    pub stream: bool,
    /// Plain bookmarks are compared.
    pub bookmarks: bool,
    /// Wait so long before the request. Unit: seconds.
    pub pause_s: Option<f64>,
    /// Repeat until the reply is as expected, for so long. Unit: seconds.
    pub poll_s: Option<f64>,
    /// JSON pointers that are left out of the comparison.
    pub ignore: Vec<String>,
    /// JSON pointers of lists whose order does not matter.
    pub sort: Vec<String>,
    /// The part that is compared.
    pub pick: Option<String>,
    /// Only types of leaves are compared.
    pub shape: bool,
    /// Where in the reply a token is.
    pub jwt: Option<String>,
    /// `code`: only the code is compared.
    pub compare: Option<String>,
    /// `watch_start`, `watch_read`.
    pub op: Option<String>,
    /// The name of the watch.
    pub watch: String,
    /// How many events are read.
    pub count: usize,
    /// What came back.
    pub expect: Expectation,
}

/// What came back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Expectation {
    /// The status code.
    pub code: Option<u16>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The `Warning` headers.
    pub warnings: Vec<String>,
    /// Other headers, names in lower case.
    pub headers: Map<String, Value>,
    /// A body in JSON,
    pub body: Option<Value>,
    /// as text,
    pub text: Option<String>,
    /// or as bytes in base64.
    pub body_b64: Option<String>,
    /// The events of a watch.
    pub events: Option<Vec<Value>>,
    /// Header and claims of a token.
    pub jwt: Option<Value>,
    /// The message may differ.
    pub loose_message: bool,
}

/// The recorded themes and their cases.
const FILES: [&[u8]; 10] = [
    include_bytes!("../data/defaulting.jsonl.gz"),
    include_bytes!("../data/validation.jsonl.gz"),
    include_bytes!("../data/status.jsonl.gz"),
    include_bytes!("../data/patch.jsonl.gz"),
    include_bytes!("../data/apply.jsonl.gz"),
    include_bytes!("../data/listwatch.jsonl.gz"),
    include_bytes!("../data/delete.jsonl.gz"),
    include_bytes!("../data/errors.jsonl.gz"),
    include_bytes!("../data/discovery.jsonl.gz"),
    include_bytes!("../data/cronjob.jsonl.gz"),
];

/// The cases in which the server deliberately answers otherwise.
pub fn deviations() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("../data/deviations.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
}

/// All cases.
///
/// # Panics
///
/// When a file is damaged.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in FILES {
        let mut text = String::new();
        GzDecoder::new(file)
            .read_to_string(&mut text)
            .expect("the data are compressed text");
        cases.extend(
            text.lines()
                .map(|line| serde_json::from_str(line).expect("each line is a case"))
                .collect::<Vec<Case>>(),
        );
    }
    cases
}
