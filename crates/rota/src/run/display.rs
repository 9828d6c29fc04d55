//! What a person sees while a run goes on: a live picture on a terminal, plain lines elsewhere, JSON lines for scripts.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::progress::{Counts, PodState, Progress};
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
    pub(crate) fn end(&mut self, line: &str) {
        match self {
            Self::Terminal(terminal) => {
                for (_, bar) in std::mem::take(&mut terminal.pods) {
                    bar.finish_and_clear();
                }
                terminal.whole.finish_and_clear();
                output::say_error(line);
            }
            Self::Plain { .. } => output::say_error(line),
            Self::Json { .. } => output::say(&json!({"end": line}).to_string()),
        }
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
