//! The agent's connection to a shim: requests and their answers, and the exits that arrive unasked.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::protocol::{Envelope, Failure, Fault, FrameKind, Frames, Reply, Request, put_message};
use super::record::SOCKET_FILE;
use crate::runtime::{ContainerState, RuntimeError};

/// What a shim says unasked.
pub(crate) enum Event {
    /// A container has ended.
    Exited(Box<ContainerState>),
    /// The shim is gone, and the sandbox with it.
    Gone,
}

/// A control connection.
pub(crate) struct Client {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    answers: Arc<Mutex<Answers>>,
    next: AtomicU64,
}

/// Who waits for which answer; `closed` once none will come any more.
#[derive(Default)]
struct Answers {
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    closed: bool,
}

impl Client {
    /// Takes a connection over; `on_event` is called from a task of its own, in the shim's order.
    pub(super) fn new(stream: UnixStream, on_event: impl Fn(Event) + Send + 'static) -> Self {
        let (reader, writer) = stream.into_split();
        let answers = Arc::new(Mutex::new(Answers::default()));
        tokio::spawn(receive(reader, Arc::clone(&answers), on_event));
        Self {
            writer: tokio::sync::Mutex::new(writer),
            answers,
            next: AtomicU64::new(1),
        }
    }

    /// Asks and waits for the answer.
    ///
    /// Errors: the shim's own; `Gone` when the connection ends first.
    pub(super) async fn request(&self, request: Request) -> Result<Reply, RuntimeError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut answers = lock(&self.answers);
            if answers.closed {
                return Err(gone());
            }
            answers.waiting.insert(id, sender);
        }
        let mut bytes = Vec::new();
        put_message(&mut bytes, id, request);
        self.writer.lock().await.write_all(&bytes).await.map_err(|_| gone())?;
        match answer.await {
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(reply) => Ok(reply),
            Err(_) => Err(gone()),
        }
    }
}

/// Connects to the shim of the sandbox in `dir`.
pub(crate) async fn connect(dir: &Path) -> io::Result<UnixStream> {
    // Through a descriptor of the directory: a socket's path must be short, a data directory's need not be.
    let handle = std::fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET_FILE}", handle.as_raw_fd())).await
}

async fn receive(mut reader: OwnedReadHalf, answers: Arc<Mutex<Answers>>, on_event: impl Fn(Event)) {
    let mut frames = Frames::default();
    let mut buffer = vec![0; 16 * 1024];
    'connected: while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        frames.push(&buffer[..count]);
        loop {
            let Ok(frame) = frames.next() else { break 'connected };
            let Some((kind, payload)) = frame else { break };
            if kind != FrameKind::Message {
                continue;
            }
            let Ok(Envelope { id, body }) = serde_json::from_slice::<Envelope<Reply>>(&payload) else {
                break 'connected;
            };
            match body {
                Reply::Exited(state) => on_event(Event::Exited(state)),
                reply => {
                    if let Some(waiting) = lock(&answers).waiting.remove(&id) {
                        let _ = waiting.send(reply);
                    }
                }
            }
        }
    }
    {
        let mut answers = lock(&answers);
        answers.closed = true;
        answers.waiting.clear();
    }
    on_event(Event::Gone);
}

fn gone() -> RuntimeError {
    RuntimeError::Gone("the sandbox's shim".to_owned())
}

/// Locks; a panic elsewhere leaves these maps usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure.fault {
            Fault::Asker => Self::Start(failure.message),
            Fault::Gone => Self::Gone(failure.message),
            Fault::Node => Self::Node {
                what: "the sandbox's shim".to_owned(),
                source: io::Error::other(failure.message),
            },
        }
    }
}
