//! Many writes, few commits: whatever is ready goes out as one transaction.
//!
//! Nothing waits for company: a write that finds the writer idle goes at once and alone; those that arrive while a
//! commit is under way share the next one. A refused write never holds up its neighbours.

use std::sync::Arc;

use rota_api::{ApiError, Reason, Write};
use rota_cluster::{Cluster, Refusal, Written};
use tokio::sync::{mpsc, oneshot};

/// Most writes in one transaction.
pub const TRANSACTION_WRITES_MAX: usize = 512;

/// What became of one write.
pub type Outcome = Result<Written, ApiError>;

struct Request {
    write: Write,
    reply: oneshot::Sender<Outcome>,
}

/// Takes writes of many tasks and commits them together.
#[derive(Clone)]
pub struct Writer {
    requests: mpsc::UnboundedSender<Request>,
}

impl Writer {
    /// Starts the task that writes. It ends when the last clone of the writer is dropped.
    pub fn start(cluster: Arc<dyn Cluster>) -> Self {
        // Whoever writes waits for the answer: no more can wait here than there are pods and nodes.
        let (requests, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(cluster, receiver));
        Self { requests }
    }

    /// Makes one change, together with whatever else is ready.
    ///
    /// Errors: as for `Cluster::write`.
    pub async fn write(&self, write: Write) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let closed = || ApiError::new(Reason::ServiceUnavailable, "the node agent is shutting down");
        self.requests.send(Request { write, reply }).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn run(cluster: Arc<dyn Cluster>, mut receiver: mpsc::UnboundedReceiver<Request>) {
    let mut requests = Vec::new();
    while receiver.recv_many(&mut requests, TRANSACTION_WRITES_MAX).await > 0 {
        let (writes, replies): (Vec<_>, Vec<_>) = requests.drain(..).map(|r| (r.write, r.reply)).unzip();
        for (reply, outcome) in replies.into_iter().zip(settle(&*cluster, writes).await) {
            // The asker may be gone; then nobody wants to know.
            let _ = reply.send(outcome);
        }
    }
}

/// Makes all writes, each of which stands for itself: as few transactions as the refusals among them allow. Returns what
/// became of each, in order.
pub async fn settle(cluster: &dyn Cluster, writes: Vec<Write>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(writes.len());
    // Stretches of writes still to be made, the next one last.
    let mut stretches = vec![writes];
    while let Some(mut stretch) = stretches.pop() {
        if stretch.len() > TRANSACTION_WRITES_MAX {
            let rest = stretch.split_off(TRANSACTION_WRITES_MAX);
            stretches.push(rest);
        }
        if let [only] = &mut *stretch {
            outcomes.push(cluster.write(only.clone()).await);
            continue;
        }
        if stretch.is_empty() {
            continue;
        }
        match cluster.transact(&stretch.iter().collect::<Vec<_>>()).await {
            Ok(written) => outcomes.extend(written.into_iter().map(Ok)),
            Err(Refusal { at, error }) if at < stretch.len() && !is_outage(&error) => {
                // The writes before the refused one are good: where nothing took effect they are made again without it.
                let after = stretch.split_off(at + 1);
                stretch.truncate(at);
                stretches.push(after);
                if cluster.is_transactional() {
                    let before = Box::pin(settle(cluster, stretch)).await;
                    outcomes.extend(before);
                } else {
                    // They took effect, but what they left behind was not reported: ask.
                    for write in stretch {
                        let seen = cluster.get(write.resource, &write.namespace, &write.name).await;
                        outcomes.push(seen.map(Written::Present));
                    }
                }
                outcomes.push(Err(error));
            }
            Err(Refusal { error, .. }) => outcomes.extend(stretch.iter().map(|_| Err(error.clone()))),
        }
    }
    outcomes
}

/// True when the server refuses everything at the moment, whatever is asked.
pub(crate) fn is_outage(error: &ApiError) -> bool {
    matches!(
        error.reason(),
        Reason::ServiceUnavailable | Reason::Timeout | Reason::TooManyRequests | Reason::Unauthorized
    )
}
