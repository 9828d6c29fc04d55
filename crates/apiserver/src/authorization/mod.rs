//! Who may do what: role-based access control over the roles and bindings that the cluster holds right now.
//!
//! [`rbac`] is the pure decision over an index of roles and bindings; [`node`] knows what nodes may do besides; [`Authorizer`] keeps the index in step with the
//! registry: a request sees every role and binding that was acknowledged before it arrived.
//!
//! Source: `spec/api.md` §3.2; kubernetes `plugin/pkg/auth/authorizer/rbac`.

pub mod bootstrap;
pub(crate) mod escalation;
pub(crate) mod node;
pub mod rbac;

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use rota_api::{ApiError, Reason, Resource, resource};
use rota_registry::{Event, Registry, Watch, WatchOptions};
use serde_json::json;

use crate::authentication::user::{MASTERS, User};
use crate::path::RequestInfo;
use crate::query::Query;
use rbac::{Decision, Index};

/// What a user wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The verb, such as `get`.
    pub verb: &'a str,
    /// The object, or `None` for paths that are no resource.
    pub resource: Option<ResourceAttributes<'a>>,
    /// The path; only used without a resource.
    pub path: &'a str,
}

/// The object that somebody wants to do something with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributes<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The plural name of the resource.
    pub resource: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The namespace; empty for all of them and for resources beside namespaces.
    pub namespace: &'a str,
    /// The name; empty for collections.
    pub name: &'a str,
    /// The field selector that limits a collection; empty for none.
    pub fields: &'a str,
}

impl<'a> Attributes<'a> {
    /// What a request wants.
    pub fn of(info: &'a RequestInfo, query: &'a Query) -> Self {
        Self {
            verb: &info.verb,
            path: &info.path,
            resource: info.is_resource.then(|| ResourceAttributes {
                group: &info.group,
                resource: &info.resource,
                subresource: &info.subresource,
                namespace: &info.namespace,
                name: info.authorized_name(query),
                fields: query.text("fieldSelector"),
            }),
        }
    }
}

/// The kinds that decide.
const KINDS: [&Resource; 4] = [
    resource::CLUSTER_ROLES,
    resource::ROLES,
    resource::CLUSTER_ROLE_BINDINGS,
    resource::ROLE_BINDINGS,
];

/// Decides who may do what.
pub struct Authorizer {
    registry: Arc<Registry>,
    live: Mutex<Live>,
}

/// The index and the changes that still have to go into it.
#[derive(Default)]
struct Live {
    watches: Vec<Watch>,
    index: Arc<Index>,
}

impl Authorizer {
    /// Decides by the roles and bindings in the registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            live: Mutex::default(),
        }
    }

    /// Decides: first what every node may do, then by roles. Members of `system:masters` may do everything.
    pub async fn decide(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::Allow;
        }
        let of_node = match node::identity(user) {
            Some(name) => node::decide(&self.registry, name, user, attributes).await,
            None => Decision::NoOpinion(String::new()),
        };
        let Decision::NoOpinion(reason) = of_node else {
            return Decision::Allow;
        };
        let by_role = match self.index().await {
            Ok(index) => index.decide(user, attributes),
            Err(error) => Decision::NoOpinion(error.message().to_owned()),
        };
        match by_role {
            Decision::NoOpinion(also) if reason.is_empty() => Decision::NoOpinion(also),
            Decision::NoOpinion(also) if also.is_empty() => Decision::NoOpinion(reason),
            Decision::NoOpinion(also) => Decision::NoOpinion(format!("{reason}\n{also}")),
            Decision::Allow => Decision::Allow,
        }
    }

    /// Lets a user do something or says why not.
    ///
    /// Errors: 403 with upstream's sentence.
    pub async fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        match self.decide(user, attributes).await {
            Decision::Allow => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(user, attributes, &reason)),
        }
    }

    /// The roles and bindings as they are now.
    ///
    /// Errors: the registry cannot be watched.
    pub async fn index(&self) -> Result<Arc<Index>, ApiError> {
        loop {
            {
                let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
                if live.catch_up() {
                    return Ok(Arc::clone(&live.index));
                }
            }
            let mut fresh = Live::default();
            for kind in KINDS {
                fresh
                    .watches
                    .push(self.registry.watch(kind, &WatchOptions::default()).await?);
            }
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

impl Live {
    /// Applies all that has happened; false when a watch is missing or was cut off, so that the index has to be built anew.
    fn catch_up(&mut self) -> bool {
        let Self { watches, index } = self;
        for watch in &mut *watches {
            while let Some(event) = watch.next().now_or_never() {
                let Some(event) = event else { return false };
                let index = Arc::make_mut(index);
                match event {
                    Event::Added(object) | Event::Modified(object) => index.insert(&object),
                    Event::Deleted(object) => index.remove(&object),
                    Event::Bookmark { .. } => {}
                }
            }
        }
        !watches.is_empty()
    }
}

/// The refusal, in upstream's words.
pub(crate) fn forbidden(user: &User, attributes: &Attributes<'_>, reason: &str) -> ApiError {
    let Some(object) = &attributes.resource else {
        let message = format!(
            "forbidden: User {:?} cannot {} path {:?}{}",
            user.name,
            attributes.verb,
            attributes.path,
            suffix(reason)
        );
        return ApiError::new(Reason::Forbidden, message).with_details(json!({}));
    };
    let resource = match object.subresource {
        "" => object.resource.to_owned(),
        subresource => format!("{}/{subresource}", object.resource),
    };
    let place = match object.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let qualified = match object.group {
        "" => object.resource.to_owned(),
        group => format!("{}.{group}", object.resource),
    };
    let mut details = json!({"kind": object.resource});
    if !object.group.is_empty() {
        details["group"] = object.group.into();
    }
    let mut subject = qualified;
    if !object.name.is_empty() {
        details["name"] = object.name.into();
        subject = format!("{subject} {:?}", object.name);
    }
    let message = format!(
        "{subject} is forbidden: User {:?} cannot {} resource {resource:?} in API group {:?} {place}{}",
        user.name,
        attributes.verb,
        object.group,
        suffix(reason)
    );
    ApiError::new(Reason::Forbidden, message).with_details(details)
}

fn suffix(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
