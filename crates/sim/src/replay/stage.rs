//! Where a scenario is played: something that can be changed, that lets time pass, and that is watched.

use jiff::Timestamp;
use rota_api::{ApiError, Write};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::record::Record;

/// A place for one scenario.
pub trait Stage {
    /// The namespace that the scenario has for itself.
    fn namespace(&self) -> &str;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Makes one change as whoever the script plays.
    ///
    /// Errors: the server refuses it.
    fn write(&mut self, write: &Write) -> Result<(), ApiError>;

    /// A change was made, to a pod or to something else: controllers may look at it.
    fn after_change(&mut self, of_pods: bool);

    /// These nodes were created and report that they are ready, or that they are not.
    fn nodes_created(&mut self, names: &[String]);

    /// From now on this node's lease is renewed, or no longer.
    fn renew_lease(&mut self, node: &str, renew: bool);

    /// From now on each bound pod that has not begun gets this status, and each pod that is told to stop is gone soon.
    fn play_agents(&mut self, status: Option<Value>);

    /// Lets so much time pass.
    fn run_for(&mut self, secs: f64);

    /// Lets time pass until `held`, or for at most `max_secs`; tells after how many seconds, if it came true.
    fn run_until(&mut self, max_secs: f64, held: &dyn Fn(&Record) -> bool) -> Option<f64>;

    /// Lets time pass until nothing has changed for `quiet_secs`.
    fn settle(&mut self, quiet_secs: f64);

    /// By how many seconds what the recording shows may come later here.
    fn late_secs(&self) -> f64;

    /// True where a plan is many requests, so that there is more to look at than in the recording.
    fn warns_more(&self) -> bool;

    /// Looks at what was seen.
    fn look<R>(&self, at: impl FnOnce(&Record) -> R) -> R;
}

/// How fast a script is played on a simulated cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Changes of pods follow one another in no time.
    Batched,
    /// Between any two changes passes as much time as a request takes.
    Eager,
}

/// How long a request takes, in seconds: longer than controllers wait for further changes of pods.
const REQUEST_SECS: f64 = 0.02;

/// The namespace of a scenario on a simulated cluster.
const NAMESPACE: &str = "ns";

/// A simulated cluster as a stage.
pub struct Simulated {
    /// The cluster.
    pub cluster: Cluster,
    /// How fast the script is played.
    pub pace: Pace,
}

impl Stage for Simulated {
    fn namespace(&self) -> &str {
        NAMESPACE
    }

    fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    fn write(&mut self, write: &Write) -> Result<(), ApiError> {
        self.cluster.write(write).map(|_| ())
    }

    fn after_change(&mut self, of_pods: bool) {
        if self.pace == Pace::Eager {
            self.cluster.run_for(REQUEST_SECS);
        } else if !of_pods {
            self.cluster.run_for(0.0);
        }
    }

    fn nodes_created(&mut self, names: &[String]) {
        for name in names {
            self.cluster.renew_lease(name, true);
        }
    }

    fn renew_lease(&mut self, node: &str, renew: bool) {
        self.cluster.renew_lease(node, renew);
    }

    fn play_agents(&mut self, status: Option<Value>) {
        self.cluster.agents = status;
    }

    fn run_for(&mut self, secs: f64) {
        self.cluster.run_for(secs);
    }

    fn run_until(&mut self, max_secs: f64, held: &dyn Fn(&Record) -> bool) -> Option<f64> {
        self.cluster.run_until(max_secs, |cluster| held(&cluster.record))
    }

    fn settle(&mut self, quiet_secs: f64) {
        self.cluster.settle(quiet_secs);
    }

    fn late_secs(&self) -> f64 {
        0.0
    }

    fn warns_more(&self) -> bool {
        false
    }

    fn look<R>(&self, at: impl FnOnce(&Record) -> R) -> R {
        at(&self.cluster.record)
    }
}
