//! Reads the first document of a YAML text.
//!
//! The parser is a library; what scalars mean ([`scalar`]), merge keys, keys that are not strings, repeated keys and the
//! cost of aliases are decided here. Upstream turns YAML into JSON before anything else, so no type is consulted.
//!
//! Source: `sigs.k8s.io/yaml`; `spec/api.md` §1.6.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::node::Node;
use super::{DEPTH_MAX, SyntaxError, scalar};

/// How much anchors and aliases may add to a document: nodes and bytes of text together.
pub(super) const EXPANDED_MAX: usize = 4 << 20;

/// The first document and the reports of its repeated keys. An empty text is a null.
pub(super) fn read(body: &[u8]) -> Result<(Node, Vec<String>), SyntaxError> {
    let text = std::str::from_utf8(body).map_err(|_| SyntaxError("yaml: invalid UTF-8".into()))?;
    let mut reader = Reader::default();
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| complaint(&error))?;
        match event {
            Event::DocumentEnd | Event::StreamEnd => break,
            event => reader.event(event, &span)?,
        }
    }
    Ok((reader.root.unwrap_or(Node::Null), reader.repeated))
}

/// A collection that is being read.
enum Open {
    List {
        items: Vec<Node>,
        anchor: usize,
    },
    Map {
        members: Vec<(String, Node)>,
        /// Where in `members` each name stands.
        places: HashMap<String, usize>,
        merged: Vec<Node>,
        key: Option<Key>,
        anchor: usize,
    },
}

/// The key of a member whose value comes next.
enum Key {
    Name(String),
    /// `<<`: the value's members are taken over where the map has none of their names.
    Merge,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    repeated: Vec<String>,
    root: Option<Node>,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_ref().and_then(|tag| tag.core_suffix().map(str::to_owned));
                let is_merge = style == ScalarStyle::Plain && text == "<<" && self.expects_key();
                if is_merge {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                let plain = style == ScalarStyle::Plain && (core.is_none() || core.as_deref() != Some("str"));
                let node = if plain {
                    scalar::resolve(&text).ok_or_else(|| not_finite(&text))?
                } else {
                    Node::String(text.into_owned())
                };
                self.complete(node, anchor, span)
            }
            Event::Alias(anchor) => {
                let node = self
                    .anchors
                    .get(&anchor)
                    .ok_or_else(|| SyntaxError("yaml: unknown anchor".into()))?;
                if depth(node) + self.open.len() > DEPTH_MAX {
                    return Err(excessive_aliasing());
                }
                let node = node.clone();
                self.expand(&node)?;
                self.complete(node, 0, span)
            }
            Event::SequenceStart(_, anchor, _) => self.start(Open::List {
                items: Vec::new(),
                anchor,
            }),
            Event::MappingStart(_, anchor, _) => self.start(Open::Map {
                members: Vec::new(),
                places: HashMap::new(),
                merged: Vec::new(),
                key: None,
                anchor,
            }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { items, anchor }) => self.complete(Node::List(items), anchor, span),
                Some(Open::Map {
                    members,
                    merged,
                    anchor,
                    ..
                }) => self.complete(Node::Map(take_over(members, merged)), anchor, span),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn start(&mut self, open: Open) -> Result<(), SyntaxError> {
        if self.expects_key() {
            return Err(SyntaxError("yaml: a map or list cannot be the key of a map".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(SyntaxError(format!("yaml: exceeded max depth of {DEPTH_MAX}")));
        }
        self.open.push(open);
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn set_key(&mut self, name: Key) {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some(name);
        }
    }

    /// Accounts for a copy of `node`.
    fn expand(&mut self, node: &Node) -> Result<(), SyntaxError> {
        self.expanded += weight(node);
        if self.expanded > EXPANDED_MAX {
            return Err(excessive_aliasing());
        }
        Ok(())
    }

    /// A node is complete: it is a key, a value, an element or the root.
    fn complete(&mut self, node: Node, anchor: usize, span: &Span) -> Result<(), SyntaxError> {
        if anchor > 0 {
            self.expand(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map {
                members,
                places,
                merged,
                key,
                ..
            }) => match key.take() {
                Some(Key::Merge) => merged.push(node),
                Some(Key::Name(name)) => match places.get(&name) {
                    Some(place) => members[*place].1 = node,
                    None => {
                        places.insert(name.clone(), members.len());
                        members.push((name, node));
                    }
                },
                None => {
                    let name = key_text(node)?;
                    if places.contains_key(&name) {
                        self.repeated
                            .push(format!("line {}: key {name:?} already set in map", span.start.line()));
                    }
                    *key = Some(Key::Name(name));
                }
            },
        }
        Ok(())
    }
}

/// What is wrong with the text, in the library's words. Upstream does not say that it is on the first line.
fn complaint(error: &ScanError) -> SyntaxError {
    let place = match error.marker().line() {
        0 | 1 => String::new(),
        line => format!("line {line}: "),
    };
    SyntaxError(format!("yaml: {place}{}", error.info()))
}

/// A number that JSON does not have.
fn not_finite(text: &str) -> SyntaxError {
    let number = match text.strip_prefix('-') {
        Some(_) => "-Inf",
        None if text.eq_ignore_ascii_case(".nan") => "NaN",
        None => "+Inf",
    };
    SyntaxError(format!("json: unsupported value: {number}"))
}

fn excessive_aliasing() -> SyntaxError {
    SyntaxError("yaml: document contains excessive aliasing".into())
}

/// The name of a member, from keys that need not be strings in YAML.
fn key_text(node: Node) -> Result<String, SyntaxError> {
    match node {
        Node::String(text) => Ok(text),
        Node::Number(number) => Ok(number.text()),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Null => Ok("null".to_owned()),
        Node::List(_) | Node::Map(_) => Err(SyntaxError("yaml: a map or list cannot be the key of a map".into())),
    }
}

/// Adds the members that merge keys (`<<`) bring in; the map's own members and earlier merges win.
fn take_over(mut members: Vec<(String, Node)>, merged: Vec<Node>) -> Vec<(String, Node)> {
    if merged.is_empty() {
        return members;
    }
    let mut names: HashSet<String> = members.iter().map(|(name, _)| name.clone()).collect();
    let sources = merged.into_iter().flat_map(|node| match node {
        Node::List(items) => items,
        other => vec![other],
    });
    for source in sources {
        let Node::Map(inherited) = source else { continue };
        for (name, node) in inherited {
            if names.insert(name.clone()) {
                members.push((name, node));
            }
        }
    }
    members
}

/// Nodes and bytes of text.
fn weight(node: &Node) -> usize {
    match node {
        Node::Null | Node::Bool(_) | Node::Number(_) => 1,
        Node::String(text) => 1 + text.len(),
        Node::List(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Node::Map(members) => {
            1 + members
                .iter()
                .map(|(name, node)| name.len() + weight(node))
                .sum::<usize>()
        }
    }
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => 0,
        Node::List(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Node::Map(members) => 1 + members.iter().map(|(_, node)| depth(node)).max().unwrap_or_default(),
    }
}
