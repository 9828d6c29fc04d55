//! What users may wish beyond the API: annotations of the CronJob under `rota.dev/`.
//!
//! | annotation | values | without it |
//! | --- | --- | --- |
//! | `rota.dev/dst-policy` | `upstream`, `vixie`, `skip-repeat`, `run-skipped` | `upstream`: what a change of the clock skips is not run, what it repeats is run twice |
//! | `rota.dev/catch-up` | `none`, `last`, `all`, `all(N)` | `last`: of missed runs only the latest is made up for |
//! | `rota.dev/forbid-mode` | `queue`, `skip` | `queue`: a refused run starts when the running Job has ended |
//! | `rota.dev/spread` | a duration such as `30s` | every run starts at its very instant |
//!
//! The same object applies unchanged to any cluster; others ignore these. A value that cannot be read is told of and counts
//! as not given. `rota.dev/skipped-until` is written here: the latest instant that was dropped because of a wish, so that a
//! restart does not bring it back.
//! Source: specification §9 (H2, H7 to H9, H20, H27), §11.3.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_cron::ClockPolicy;

/// The annotation that remembers what was dropped.
pub(super) const SKIPPED_UNTIL: &str = "rota.dev/skipped-until";

const DST_POLICY: &str = "rota.dev/dst-policy";
const CATCH_UP: &str = "rota.dev/catch-up";
const FORBID_MODE: &str = "rota.dev/forbid-mode";
const SPREAD: &str = "rota.dev/spread";

/// The most runs that are made up for one after another: what `all` means.
const CATCH_UP_MAX: u32 = 100;
/// The widest window over which runs are spread.
const SPREAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The wishes of one CronJob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// What becomes of times that the clock skips or repeats.
    pub(super) clock: ClockPolicy,
    /// What becomes of missed runs.
    pub(super) catch_up: CatchUp,
    /// What becomes of runs that `Forbid` refuses.
    pub(super) forbid: ForbidMode,
    /// The window over which runs start.
    pub(super) spread: SignedDuration,
    /// Instants up to this one were dropped.
    pub(super) skipped_until: Option<Timestamp>,
}

/// What becomes of missed runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CatchUp {
    /// The latest one starts.
    #[default]
    Last,
    /// None starts late.
    None,
    /// So many of the latest start, one after another, the oldest first.
    All(u32),
}

/// What becomes of runs that `Forbid` refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ForbidMode {
    /// The latest one waits until the running Job has ended.
    #[default]
    Queue,
    /// They are dropped.
    Skip,
}

impl Wishes {
    /// The wishes that annotations express, and what cannot be read, in words.
    pub(super) fn of(annotations: Option<&BTreeMap<String, String>>) -> (Self, Vec<String>) {
        let mut wishes = Self::default();
        let mut unread = Vec::new();
        let Some(annotations) = annotations else {
            return (wishes, unread);
        };
        let mut read = |name: &str, set: &mut dyn FnMut(&str) -> Result<(), String>| {
            if let Some(text) = annotations.get(name)
                && let Err(why) = set(text)
            {
                unread.push(format!("annotation {name} is ignored: {text:?} {why}"));
            }
        };
        read(DST_POLICY, &mut |text| {
            wishes.clock = text
                .parse()
                .map_err(|error: rota_cron::UnknownPolicy| error.to_string())?;
            Ok(())
        });
        read(CATCH_UP, &mut |text| {
            wishes.catch_up = text.parse()?;
            Ok(())
        });
        read(FORBID_MODE, &mut |text| {
            wishes.forbid = text.parse()?;
            Ok(())
        });
        read(SPREAD, &mut |text| {
            wishes.spread = window(text)?;
            Ok(())
        });
        wishes.skipped_until = annotations.get(SKIPPED_UNTIL).and_then(|text| text.parse().ok());
        (wishes, unread)
    }

    /// How long behind its instant a run of that CronJob starts: the same for all its runs, different from CronJob to
    /// CronJob, less than the window.
    pub(super) fn delay(&self, uid: &str) -> SignedDuration {
        let window = u64::try_from(self.spread.as_secs()).unwrap_or_default();
        if window == 0 {
            return SignedDuration::ZERO;
        }
        SignedDuration::from_secs(i64::try_from(hash(uid) % window).unwrap_or_default())
    }
}

impl FromStr for CatchUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')'));
        match (text, count.map(str::parse)) {
            ("last", _) => Ok(Self::Last),
            ("none", _) => Ok(Self::None),
            ("all", _) => Ok(Self::All(CATCH_UP_MAX)),
            (_, Some(Ok(count))) if (1..=CATCH_UP_MAX).contains(&count) => Ok(Self::All(count)),
            _ => Err(format!(
                "must be one of none, last, all, all(N) with N from 1 to {CATCH_UP_MAX}"
            )),
        }
    }
}

impl FromStr for ForbidMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "queue" => Ok(Self::Queue),
            "skip" => Ok(Self::Skip),
            _ => Err("must be one of queue, skip".to_owned()),
        }
    }
}

fn window(text: &str) -> Result<SignedDuration, String> {
    let window = rota_cron::parse_duration(text).ok();
    window
        .filter(|window| (SignedDuration::ZERO..=SPREAD_MAX).contains(window))
        .ok_or_else(|| "must be a duration such as 30s or 5m, at most 24h".to_owned())
}

/// FNV-1a: spreads uids evenly, and will not change.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> (Wishes, Vec<String>) {
        Wishes::of(Some(&BTreeMap::from([(name.to_owned(), value.to_owned())])))
    }

    #[test]
    fn each_wish_is_read() {
        assert_eq!(of(DST_POLICY, "vixie").0.clock, ClockPolicy::Vixie);
        assert_eq!(of(CATCH_UP, "none").0.catch_up, CatchUp::None);
        assert_eq!(of(CATCH_UP, "all").0.catch_up, CatchUp::All(100));
        assert_eq!(of(CATCH_UP, "all(3)").0.catch_up, CatchUp::All(3));
        assert_eq!(of(FORBID_MODE, "skip").0.forbid, ForbidMode::Skip);
        assert_eq!(of(SPREAD, "1m30s").0.spread.as_secs(), 90);
        assert_eq!(of("unrelated", "x"), (Wishes::default(), Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_told_of_and_ignored() {
        let of_each = [
            (DST_POLICY, "maybe"),
            (CATCH_UP, "all(0)"),
            (CATCH_UP, "all(101)"),
            (FORBID_MODE, ""),
            (SPREAD, "25h"),
            (SPREAD, "-1s"),
            (SPREAD, "soon"),
        ];
        for (name, value) in of_each {
            let (wishes, unread) = of(name, value);
            assert_eq!(wishes, Wishes::default());
            assert_eq!(unread.len(), 1, "{name}: {value}");
        }
        assert_eq!(
            of(FORBID_MODE, "never").1,
            [r#"annotation rota.dev/forbid-mode is ignored: "never" must be one of queue, skip"#]
        );
    }

    #[test]
    fn runs_are_spread_by_uid_within_the_window() {
        let wishes = of(SPREAD, "60s").0;
        let delays: std::collections::BTreeSet<i64> = (0..200)
            .map(|number| wishes.delay(&format!("uid-{number}")).as_secs())
            .collect();
        assert!(delays.iter().all(|delay| (0..60).contains(delay)));
        assert!(delays.len() > 40, "spread over {} seconds only", delays.len());
        assert_eq!(wishes.delay("a"), wishes.delay("a"));
        assert!(Wishes::default().delay("a").is_zero());
    }
}
