//! Writes Events in batches, beside the real work.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use rota_api::{ApiError, Timestamp, Write, resource};
use rota_reconcile::{Note, Plan};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::correlate::{Correlator, Saying, Verdict};
use crate::port::Cluster;
use crate::runner::Outcome;

/// How many sayings may wait to be written; what comes beyond is dropped, as work must never wait for events.
const WAITING_MAX: usize = 16 * 1024;
/// How many are written in one transaction.
const BATCH_MAX: usize = 512;
/// How many are written at the same time where there are no transactions: little beside the work.
const AT_ONCE_MAX: usize = 16;

/// The hand that writes Events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Saying>,
}

impl Recorder {
    /// Starts writing Events to `cluster` until `stop`.
    pub fn start(cluster: Arc<dyn Cluster>, stop: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            tokio::select! {
                () = write_all(cluster, receiver) => {}
                () = stop.cancelled() => {}
            }
        });
        Self { sender }
    }

    /// Says one thing. Never waits.
    pub fn record(&self, saying: Saying) {
        if let Err(error) = self.sender.try_send(saying) {
            tracing::debug!(%error, "an event was dropped");
        }
    }

    /// Says the notes of a plan that are true given what came of it.
    pub fn record_plan(&self, source: &str, plan: &Plan, outcome: &Outcome) {
        for note in &plan.notes {
            let made = note
                .after
                .map(|action| outcome.written.get(action).and_then(Option::as_ref));
            if made.is_some_and(|written| written.is_none()) {
                continue;
            }
            self.record(saying(note.source.unwrap_or(source), note, outcome));
        }
    }
}

fn saying(source: &str, note: &Note, outcome: &Outcome) -> Saying {
    Saying {
        source: source.to_owned(),
        host: String::new(),
        kind: note.kind,
        regarding: note.regarding.clone(),
        reason: note.reason.to_string(),
        message: fill_in(&note.message, outcome),
    }
}

/// Replaces each `{created:N}` by the name of what action N made.
fn fill_in(message: &str, outcome: &Outcome) -> String {
    let mut filled = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("{created:") {
        filled.push_str(before);
        let Some((index, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        let name = index
            .parse()
            .ok()
            .and_then(|index: usize| outcome.written.get(index)?.as_ref())
            .map_or("", |written| written.object().meta().name.as_str());
        filled.push_str(name);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

async fn write_all(cluster: Arc<dyn Cluster>, mut sayings: mpsc::Receiver<Saying>) {
    let mut correlator = Correlator::default();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut salt: u64 = 0;
    while sayings.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let now = Timestamp::now();
        let mut news = Vec::with_capacity(batch.len());
        // Of several counts of one Event the last says it all.
        let mut counts: BTreeMap<(String, String), (Write, Value)> = BTreeMap::new();
        for saying in batch.drain(..) {
            salt = salt.wrapping_add(1);
            match correlator.judge(&saying, now, salt) {
                Verdict::Create(event) => news.push(Write::create(resource::EVENTS, event)),
                Verdict::Count {
                    namespace,
                    name,
                    patch,
                    event,
                } => {
                    let count = Write::merge(resource::EVENTS, &namespace, &name, patch);
                    counts.insert((namespace, name), (count, event));
                }
                Verdict::Drop => {}
            }
        }
        let together: Vec<&Write> = news.iter().chain(counts.values().map(|(count, _)| count)).collect();
        if together.is_empty() || (cluster.is_transactional() && cluster.transact(&together).await.is_ok()) {
            continue;
        }
        // What is counted up may be among the news.
        let news = news.into_iter().map(|write| (write, None));
        write_each(&*cluster, news.collect()).await;
        let counts = counts.into_values().map(|(count, event)| (count, Some(event)));
        write_each(&*cluster, counts.collect()).await;
    }
}

/// Writes one by one, some at the same time; makes the Event anew where one that is to be counted up is gone.
async fn write_each(cluster: &dyn Cluster, writes: Vec<(Write, Option<Value>)>) {
    let done = stream::iter(writes).map(|(write, whole)| async move {
        let mut done = cluster.write(write).await;
        if let Some(event) = whole
            && done.as_ref().is_err_and(ApiError::is_not_found)
        {
            done = cluster.write(Write::create(resource::EVENTS, event)).await;
        }
        if let Err(error) = done {
            // The namespace is going, say.
            tracing::debug!(%error, "an event was not written");
        }
    });
    done.buffer_unordered(AT_ONCE_MAX).collect::<()>().await;
}
