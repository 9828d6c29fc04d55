//! Deletes certificate requests that are of no use any more.
//!
//! | request | gone after |
//! | --- | --- |
//! | nobody has answered | a day |
//! | approved and issued, denied, or failed | an hour |
//!
//! Whoever asked has long fetched the certificate by then. Source: `pkg/controller/certificates/cleaner`.

use jiff::SignedDuration;
use rota_api::{DeleteOptions, Object, Resource, Timestamp, Write, resource};

use crate::{Controller, Key, Plan, World, WorldChange};

const PENDING_FOR: SignedDuration = SignedDuration::from_hours(24);
const ANSWERED_FOR: SignedDuration = SignedDuration::from_hours(1);

static WATCHED: [&Resource; 1] = [resource::CERTIFICATE_SIGNING_REQUESTS];

/// Deletes old certificate requests.
#[derive(Default)]
pub struct CsrCleaner;

impl Controller for CsrCleaner {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner"
    }

    fn event_source(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        change.new.iter().map(|request| Key::of(request)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(request) = world.get(resource::CERTIFICATE_SIGNING_REQUESTS, "", &key.name) else {
            return plan;
        };
        match due(request) {
            Some((at, why)) if at <= now => {
                let kind = resource::CERTIFICATE_SIGNING_REQUESTS;
                let delete = Write::delete(kind, "", &key.name, DeleteOptions::default());
                plan.act(delete.if_uid(&request.meta().uid), why);
            }
            Some((at, _)) => plan.wake_at(at),
            None => {}
        }
        plan
    }
}

/// When the request is of no use any more, and why; `None` for an approved one whose certificate is still to come.
fn due(request: &Object) -> Option<(Timestamp, &'static str)> {
    let value = request.to_value();
    let status = &value["status"];
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let since = |kind: &str| -> Option<Timestamp> {
        let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
        let told = condition["lastUpdateTime"].as_str().and_then(|time| time.parse().ok());
        told.or(request.meta().created)
    };
    let is_issued = status["certificate"].as_str().is_some_and(|pem| !pem.is_empty());
    let (since, lasts, why) = if let Some(denied) = since("Denied") {
        (denied, ANSWERED_FOR, "it was denied an hour ago")
    } else if let Some(failed) = since("Failed") {
        (failed, ANSWERED_FOR, "it failed an hour ago")
    } else if let Some(approved) = since("Approved") {
        is_issued.then_some((approved, ANSWERED_FOR, "its certificate was issued an hour ago"))?
    } else {
        (request.meta().created?, PENDING_FOR, "nobody has answered it for a day")
    };
    Some((since.saturating_add(lasts).unwrap_or(Timestamp::MAX), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn explained(status: &Value, now: &str) -> String {
        let metadata = json!({"name": "r", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let request = json!({"metadata": metadata, "status": status});
        let mut world = World::watching(&WATCHED, &[]);
        world.apply(Arc::new(Object::from_value(
            resource::CERTIFICATE_SIGNING_REQUESTS,
            request,
        )));
        let plan = CsrCleaner.reconcile(&Key::new("", "r"), &world, now.parse().expect("a time"));
        plan.explain().trim_end().to_owned()
    }

    #[test]
    fn a_request_that_nobody_answers_goes_after_a_day() {
        assert_eq!(
            explained(&json!({}), "2026-01-01T23:00:00Z"),
            "wake 2026-01-02T00:00:00Z"
        );
        assert!(explained(&json!({}), "2026-01-02T00:00:00Z").contains("nobody has answered it"));
    }

    #[test]
    fn an_answered_request_goes_after_an_hour_and_an_approved_one_waits_for_its_certificate() {
        let answered = |kind: &str, certificate: &str| {
            let condition = json!({"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"});
            explained(
                &json!({"conditions": [condition], "certificate": certificate}),
                "2026-01-01T01:00:00Z",
            )
        };
        for (kind, certificate) in [("Denied", ""), ("Failed", ""), ("Approved", "YQ==")] {
            assert!(
                answered(kind, certificate).starts_with("0 delete CertificateSigningRequest r"),
                "{kind}"
            );
        }
        assert_eq!(answered("Approved", ""), "");
    }
}
