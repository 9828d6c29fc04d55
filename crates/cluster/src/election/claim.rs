//! Whether a Lease may be taken, and how it is then written.
//!
//! Clocks of machines differ, so times that another wrote are never compared with our clock: a Lease is free when *we* have
//! seen it unchanged for as long as it lasts. Pure: what was read and what time it is come in.

use std::time::Duration;

use rota_api::Timestamp;
use serde_json::{Value, json};

use crate::fence::BootTime;

/// How this instance takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The name of this instance: no other has it.
    pub identity: String,
    /// For how long others must see a Lease unchanged before they take it.
    pub lease_duration: Duration,
    /// For how long a leader may fail to renew before it stops working. Less than the lease's duration.
    pub renew_deadline: Duration,
    /// How often a Lease is renewed or looked at.
    pub retry_period: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this, refused if the Lease has changed since.
    Write(Claim),
    /// Another holds it.
    Wait,
}

/// What a Lease is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    holder: String,
    duration_secs: u64,
    acquired: String,
    renewed: Timestamp,
    transitions: u64,
}

impl Claim {
    /// A Lease that its holder gives back.
    pub fn released(now: Timestamp, transitions: u64) -> Self {
        Self {
            holder: String::new(),
            duration_secs: 1,
            acquired: micro_time(now),
            renewed: now,
            transitions,
        }
    }

    /// `spec` of the Lease.
    pub fn spec(&self) -> Value {
        json!({
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.duration_secs,
            "acquireTime": self.acquired,
            "renewTime": micro_time(self.renewed),
            "leaseTransitions": self.transitions,
        })
    }
}

/// An instance that takes part, and what it has seen.
#[derive(Debug)]
pub struct Candidate {
    config: Config,
    /// The Lease as it was last seen to change, and when.
    seen: Option<(Value, BootTime)>,
}

impl Candidate {
    /// An instance that has seen nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config, seen: None }
    }

    /// How it takes part.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who holds the Lease, as far as this instance has seen; empty for nobody.
    pub fn holder(&self) -> &str {
        self.seen
            .as_ref()
            .and_then(|(spec, _)| spec["holderIdentity"].as_str())
            .unwrap_or_default()
    }

    /// How often the Lease has changed hands.
    pub fn transitions(&self) -> u64 {
        self.seen
            .as_ref()
            .and_then(|(spec, _)| spec["leaseTransitions"].as_u64())
            .unwrap_or_default()
    }

    /// What to do about a Lease whose spec was read (`None`: there is none). `wall` is what a renewal says.
    pub fn consider(&mut self, spec: Option<&Value>, now: BootTime, wall: Timestamp) -> Step {
        let Some(spec) = spec else {
            self.seen = None;
            return Step::Write(self.claim(wall, micro_time(wall), 0));
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != spec) {
            self.seen = Some((spec.clone(), now));
        }
        let holder = self.holder();
        let transitions = self.transitions();
        if holder == self.config.identity {
            let acquired = spec["acquireTime"]
                .as_str()
                .map_or_else(|| micro_time(wall), str::to_owned);
            return Step::Write(self.claim(wall, acquired, transitions));
        }
        let since = self.seen.as_ref().map(|(_, at)| now.since(*at)).unwrap_or_default();
        if !holder.is_empty() && since < duration_of(spec, self.config.lease_duration) {
            return Step::Wait;
        }
        Step::Write(self.claim(wall, micro_time(wall), transitions + 1))
    }

    /// The claim was written.
    pub fn wrote(&mut self, claim: &Claim, now: BootTime) {
        self.seen = Some((claim.spec(), now));
    }

    fn claim(&self, wall: Timestamp, acquired: String, transitions: u64) -> Claim {
        Claim {
            holder: self.config.identity.clone(),
            duration_secs: self.config.lease_duration.as_secs().max(1),
            acquired,
            renewed: wall,
            transitions,
        }
    }
}

/// For how long a Lease lasts unseen: as its holder says and as we say, whichever is longer. A holder that was configured
/// for longer leases than we are is not robbed.
fn duration_of(spec: &Value, own: Duration) -> Duration {
    let told = Duration::from_secs(spec["leaseDurationSeconds"].as_u64().unwrap_or_default());
    told.max(own)
}

/// A time as `MicroTime` fields have it.
fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate::new(Config {
            namespace: "kube-system".to_owned(),
            name: "l".to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        })
    }

    fn held_by(holder: &str, renewed: &str) -> Value {
        json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed, "leaseTransitions": 3,
               "acquireTime": "2026-01-01T00:00:00.000000Z"})
    }

    fn wall() -> Timestamp {
        "2026-01-01T12:00:00.5Z".parse().unwrap()
    }

    #[test]
    fn a_lease_that_is_not_there_or_that_nobody_holds_is_taken() {
        let now = BootTime::now();
        let Step::Write(claim) = candidate("a").consider(None, now, wall()) else {
            panic!("nobody holds it");
        };
        assert_eq!(claim.spec()["renewTime"], "2026-01-01T12:00:00.500000Z");
        assert_eq!(claim.spec()["leaseTransitions"], 0);
        let Step::Write(claim) = candidate("a").consider(Some(&held_by("", "t")), now, wall()) else {
            panic!("nobody holds it");
        };
        assert_eq!(claim.spec()["leaseTransitions"], 4);
    }

    #[test]
    fn a_lease_of_another_is_taken_when_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let now = BootTime::now();
        let mut us = candidate("b");
        assert_eq!(us.consider(Some(&held_by("a", "t1")), now, wall()), Step::Wait);
        let later = now.plus(Duration::from_secs(14));
        assert_eq!(us.consider(Some(&held_by("a", "t1")), later, wall()), Step::Wait);
        let renewed = now.plus(Duration::from_secs(15));
        assert_eq!(
            us.consider(Some(&held_by("a", "t2")), renewed, wall()),
            Step::Wait,
            "it was renewed in between"
        );
        let over = renewed.plus(Duration::from_secs(15));
        assert!(matches!(
            us.consider(Some(&held_by("a", "t2")), over, wall()),
            Step::Write(_)
        ));
    }

    #[test]
    fn a_holder_renews_and_keeps_since_when_it_holds() {
        let Step::Write(claim) = candidate("a").consider(Some(&held_by("a", "t")), BootTime::now(), wall()) else {
            panic!("it is ours");
        };
        assert_eq!(claim.spec()["acquireTime"], "2026-01-01T00:00:00.000000Z");
        assert_eq!(claim.spec()["leaseTransitions"], 3);
    }

    #[test]
    fn a_holder_that_said_it_would_take_longer_is_not_robbed() {
        let now = BootTime::now();
        let mut lease = held_by("a", "t");
        lease["leaseDurationSeconds"] = 60.into();
        let mut us = candidate("b");
        us.consider(Some(&lease), now, wall());
        let later = now.plus(Duration::from_secs(30));
        assert_eq!(us.consider(Some(&lease), later, wall()), Step::Wait);
    }
}
