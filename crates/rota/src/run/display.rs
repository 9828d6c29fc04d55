//! What a person sees while a run goes on: a live picture on a terminal, plain lines elsewhere, JSON lines for scripts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::progress::{Counts, PodState, Progress, Verdict};
use crate::interrupt::Early;
use crate::output;

/// How many pods are shown at once on a terminal.
const PODS_SHOWN_MAX: usize = 8;
/// How often a live picture is drawn afresh.
const TICK: Duration = Duration::from_millis(120);

/// The display.
pub(crate) enum Display {
    /// A live picture.
    Terminal(Terminal),
    /// A line for each change.
    Plain {
        /// What was said last.
        last: Option<Counts>,
    },
    /// A line of JSON for each change.
    Json {
        /// What was said last.
        last: Option<Counts>,
    },
}

/// A live picture: the whole in one line, below it the pods that are at work.
pub(crate) struct Terminal {
    bars: MultiProgress,
    whole: ProgressBar,
    pods: BTreeMap<String, ProgressBar>,
}

impl Display {
    /// The display that fits where the output goes. `title` names what runs.
    pub(crate) fn new(json: bool, title: &str) -> Self {
        if json {
            return Self::Json { last: None };
        }
        if !std::io::stderr().is_terminal() {
            output::say_error(title);
            return Self::Plain { last: None };
        }
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:.bold} {msg} ({elapsed})") {
            whole.set_style(style);
        }
        whole.set_prefix(title.to_owned());
        whole.enable_steady_tick(TICK);
        Self::Terminal(Terminal {
            bars,
            whole,
            pods: BTreeMap::new(),
        })
    }

    /// The counts may have changed.
    pub(crate) fn update(&mut self, progress: &Progress) {
        match self {
            Self::Terminal(terminal) => terminal.update(progress),
            Self::Plain { last } => {
                if is_news(*last, progress.counts) {
                    *last = Some(progress.counts);
                    output::say_error(&progress.counts.to_string());
                }
            }
            Self::Json { last } => {
                if is_news(*last, progress.counts) {
                    *last = Some(progress.counts);
                    output::say(&json!({"counts": progress.counts}).to_string());
                }
            }
        }
    }

    /// A pod does something else than before.
    pub(crate) fn pod(&mut self, name: &str, state: &PodState) {
        match self {
            Self::Terminal(_) => {}
            Self::Plain { .. } => output::say_error(&format!("{name}: {}", state.state)),
            Self::Json { .. } => output::say(&json!({"pod": name, "state": state.state}).to_string()),
        }
    }

    /// Something that is neither output nor a change of one pod.
    pub(crate) fn note(&mut self, line: &str) {
        match self {
            Self::Terminal(terminal) => terminal.bars.suspend(|| output::say_error(line)),
            Self::Plain { .. } => output::say_error(line),
            Self::Json { .. } => output::say(&json!({"note": line}).to_string()),
        }
    }

    /// A line of a container's output.
    pub(crate) fn log(&mut self, prefix: &str, line: &str) {
        match self {
            // The picture steps aside while the line is written.
            Self::Terminal(terminal) => terminal
                .bars
                .suspend(|| output::say(&format!("\x1b[2m{prefix}\x1b[0m {line}"))),
            Self::Plain { .. } => output::say(&format!("{prefix} {line}")),
            Self::Json { .. } => output::say(&json!({"log": line, "from": prefix}).to_string()),
        }
    }

    /// The run is over.
    pub(crate) fn end(&mut self, end: &End<'_>) {
        match self {
            Self::Terminal(terminal) => {
                for (_, bar) in std::mem::take(&mut terminal.pods) {
                    bar.finish_and_clear();
                }
                terminal.whole.finish_and_clear();
                output::say_error(&end.to_string());
            }
            Self::Plain { .. } => output::say_error(&end.to_string()),
            Self::Json { .. } => output::say(&json!({"end": end.to_json()}).to_string()),
        }
    }
}

/// What was run.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Why a run is over.
#[derive(Debug)]
pub(crate) enum Reason<'a> {
    /// It came to its end.
    Verdict(&'a Verdict),
    /// Somebody interrupted it, or nobody reads its output any more.
    Early(Early),
    /// The time for it was up.
    TimedOut,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct End<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) reason: Reason<'a>,
    pub(crate) counts: Counts,
    pub(crate) exit_code: u8,
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, counts, .. } = self;
        match self.reason {
            Reason::Verdict(Verdict::Complete) => write!(f, "{subject}: complete, {counts}"),
            Reason::Verdict(Verdict::Failed { why }) => write!(f, "{subject}: failed, {counts}; {why}"),
            Reason::Verdict(Verdict::Deleted) => write!(f, "{subject}: was deleted by someone else"),
            Reason::Early(Early::Interrupted(_)) => write!(f, "{subject}: interrupted"),
            Reason::Early(Early::Unread) => write!(f, "{subject}: stopped, as nobody reads its output any more"),
            Reason::TimedOut => write!(f, "{subject}: not finished in time; {counts}"),
        }
    }
}

impl End<'_> {
    fn to_json(&self) -> Value {
        let (result, why) = match self.reason {
            Reason::Verdict(Verdict::Complete) => ("complete", None),
            Reason::Verdict(Verdict::Failed { why }) => ("failed", Some(why)),
            Reason::Verdict(Verdict::Deleted) => ("deleted", None),
            Reason::Early(Early::Interrupted(_)) => ("interrupted", None),
            Reason::Early(Early::Unread) => ("unread", None),
            Reason::TimedOut => ("timeout", None),
        };
        let Subject { kind, namespace, name } = self.subject;
        let mut end = json!({
            "kind": kind, "namespace": namespace, "name": name, "result": result, "exit_code": self.exit_code,
            "counts": self.counts,
        });
        if let Some(why) = why {
            end["why"] = why.as_str().into();
        }
        end
    }
}

/// True for counts that differ from what was said last; before anything was seen there is nothing to say.
fn is_news(last: Option<Counts>, counts: Counts) -> bool {
    last != Some(counts) && (last.is_some() || counts != Counts::default())
}

impl Terminal {
    fn update(&mut self, progress: &Progress) {
        self.whole.set_message(progress.counts.to_string());
        let shown: BTreeMap<&str, &str> = progress.live_pods().take(PODS_SHOWN_MAX).collect();
        self.pods.retain(|name, bar| {
            let stays = shown.contains_key(name.as_str());
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, state) in shown {
            let bars = &self.bars;
            let bar = self.pods.entry(name.to_owned()).or_insert_with(|| {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("    {prefix} {msg:.dim}") {
                    bar.set_style(style);
                }
                bar.set_prefix(name.to_owned());
                bar
            });
            bar.set_message(state.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reason: Reason<'_>, exit_code: u8, line: &str, result: &Value) {
        let subject = Subject {
            kind: "Job",
            namespace: "d".to_owned(),
            name: "j".to_owned(),
        };
        let counts = Counts::Job {
            succeeded: 1,
            active: 0,
            failed: 2,
            wanted: 3,
        };
        let end = End {
            subject: &subject,
            reason,
            counts,
            exit_code,
        };
        assert_eq!(end.to_string(), line);
        let mut expected = json!({"kind": "Job", "namespace": "d", "name": "j", "exit_code": exit_code,
            "counts": {"succeeded": 1, "active": 0, "failed": 2, "wanted": 3}});
        for (field, value) in result.as_object().unwrap() {
            expected[field] = value.clone();
        }
        assert_eq!(end.to_json(), expected);
    }

    #[test]
    fn the_end_of_a_run_is_a_sentence_for_people_and_fields_for_scripts() {
        let counts = "1/3 succeeded, 2 failed";
        let complete = format!("Job d/j: complete, {counts}");
        check(
            Reason::Verdict(&Verdict::Complete),
            0,
            &complete,
            &json!({"result": "complete"}),
        );
        let why = "BackoffLimitExceeded: too often".to_owned();
        let failed = Verdict::Failed { why: why.clone() };
        let line = format!("Job d/j: failed, {counts}; {why}");
        check(
            Reason::Verdict(&failed),
            7,
            &line,
            &json!({"result": "failed", "why": why}),
        );
        let deleted = "Job d/j: was deleted by someone else";
        check(
            Reason::Verdict(&Verdict::Deleted),
            1,
            deleted,
            &json!({"result": "deleted"}),
        );
        check(
            Reason::Early(Early::Interrupted(130)),
            130,
            "Job d/j: interrupted",
            &json!({"result": "interrupted"}),
        );
        check(
            Reason::Early(Early::Unread),
            141,
            "Job d/j: stopped, as nobody reads its output any more",
            &json!({"result": "unread"}),
        );
        let late = format!("Job d/j: not finished in time; {counts}");
        check(Reason::TimedOut, 124, &late, &json!({"result": "timeout"}));
    }
}
