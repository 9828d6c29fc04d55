//! What the objects of the Kubernetes API are.
//!
//! This crate knows names, shapes, encodings and rules of API objects and nothing of servers: no clock, no network, no
//! files, no randomness. Time and randomness are arguments.
//!
//! The parts, in the order a request meets them:
//!
//! - [`resource`]: the resources that are served, as data;
//! - [`names`], [`quantity`], [`selector`]: texts with a grammar of their own;
//! - [`defaults`], [`strategy`], [`validate`]: the rules of each kind, in the order in which a write meets them;
//! - [`scheme`]: which kinds there are beside those that are served, and which are related;
//! - [`print`]: objects as rows of a table;
//! - [`object`]: a stored object: a small header, its encoded bytes, views decoded on demand;
//! - [`error`]: refusals, as the `Status` that clients receive;
//! - [`codec`]: bodies of requests and replies, decoded strictly;
//! - [`apply`]: server-side apply, and who owns which fields;
//! - [`discovery`]: the documents from which clients learn what is served;
//! - [`openapi`]: the documents from which clients learn what objects look like;
//! - [`protobuf`]: objects in protobuf, both ways;
//! - [`patch`]: the three patch forms;
//! - [`namespace_objects`]: what every namespace holds;
//! - [`placement`]: where a pod may run: taints, node selectors, node affinity;
//! - [`pod_references`]: the objects that a pod names;
//! - [`pod_security`]: which pods meet the security levels;
//! - [`quota`]: what objects use of a namespace's quotas;
//! - [`owners`]: owners that an object names twice;
//! - [`disruption`]: the condition of a disruption budget;
//! - [`table`]: what every API type looks like, as data;
//! - [`write`]: a change of one object, as a value that can be printed, compared, sent or committed.

pub mod apply;
pub mod codec;
pub mod defaults;
pub mod discovery;
pub mod disruption;
pub mod error;
pub mod names;
pub mod namespace_objects;
pub mod object;
pub mod openapi;
pub mod owners;
pub mod patch;
pub mod placement;
pub mod pod_references;
pub mod pod_security;
pub mod print;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod resource;
pub mod scheme;
pub mod selector;
pub mod strategy;
pub mod table;
pub mod taints;
pub mod validate;
mod value;
pub mod write;

/// Typed views of Kubernetes objects, for reading. They are never the shape of storage: the server keeps whole objects.
pub use k8s_openapi as k8s;

pub use error::{ApiError, FieldError, FieldErrorKind, Reason};
pub use jiff::Timestamp;
pub use object::{Meta, Object, OwnerReference, Revision};
pub use resource::{Resource, Scope};
pub use write::{Absent, Change, DeleteOptions, Link, PatchKind, Precondition, Propagation, Write};
