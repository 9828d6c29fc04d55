//! A runtime without containers: what runs is a list, and ends when a test says so.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use rota_agent::runtime::{
    ContainerPhase, ContainerSpec, ContainerState, ExecSpec, Image, Runtime, RuntimeError, SandboxSpec, SandboxState,
    Streams,
};
use rota_api::Timestamp;
use tokio::sync::{mpsc, watch};

#[derive(Default)]
struct Inner {
    sandboxes: HashMap<String, SandboxState>,
    specs: HashMap<String, ContainerSpec>,
    listeners: Vec<mpsc::UnboundedSender<ContainerState>>,
    /// Graces with which containers were stopped.
    stops: Vec<u64>,
    /// Nobody is told of ends any more.
    is_mute: bool,
}

/// The runtime.
#[derive(Clone)]
pub(crate) struct Scripted {
    inner: Arc<Mutex<Inner>>,
    changes: watch::Sender<u64>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
            changes: watch::channel(0).0,
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits until a run of a container has begun; returns what it was started with.
    pub(crate) async fn started(&self, name: &str, attempt: u32) -> ContainerSpec {
        let mut changes = self.changes.subscribe();
        loop {
            let spec = {
                let inner = self.inner.lock().unwrap();
                inner
                    .specs
                    .values()
                    .find(|spec| spec.name == name && spec.attempt == attempt)
                    .cloned()
            };
            if let Some(spec) = spec {
                return spec;
            }
            changes.changed().await.unwrap();
        }
    }

    /// Ends a running container.
    pub(crate) fn end(&self, name: &str, code: i32) {
        let mut inner = self.inner.lock().unwrap();
        let mut ended = Vec::new();
        for container in inner.sandboxes.values_mut().flat_map(|sandbox| &mut sandbox.containers) {
            if let ContainerPhase::Running { started } = container.phase
                && container.name == name
            {
                container.phase = ContainerPhase::Exited {
                    started,
                    finished: Timestamp::now(),
                    exit_code: code,
                    oom_killed: false,
                    message: String::new(),
                };
                ended.push(container.clone());
            }
        }
        assert!(!ended.is_empty(), "{name} runs");
        if inner.is_mute {
            return;
        }
        inner
            .listeners
            .retain(|listener| ended.iter().all(|container| listener.send(container.clone()).is_ok()));
    }

    /// From now on nobody is told of ends of containers.
    pub(crate) fn mute(&self) {
        self.inner.lock().unwrap().is_mute = true;
    }

    /// Everything is gone, as if somebody had removed it.
    pub(crate) fn lose_all(&self) {
        self.inner.lock().unwrap().sandboxes.clear();
    }

    pub(crate) fn stops(&self) -> Vec<u64> {
        self.inner.lock().unwrap().stops.clone()
    }

    pub(crate) fn sandbox_count(&self) -> usize {
        self.inner.lock().unwrap().sandboxes.len()
    }

    /// How many containers were ever started.
    pub(crate) fn start_count(&self) -> usize {
        self.inner.lock().unwrap().specs.len()
    }
}

#[async_trait]
impl Runtime for Scripted {
    fn version(&self) -> String {
        "scripted://1".to_owned()
    }

    async fn inventory(&self) -> Result<Vec<SandboxState>, RuntimeError> {
        Ok(self.inner.lock().unwrap().sandboxes.values().cloned().collect())
    }

    fn exits(&self) -> Pin<Box<dyn Stream<Item = ContainerState> + Send>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner.lock().unwrap().listeners.push(sender);
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|exit| (exit, receiver))
        })
        .boxed()
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        let image = Image {
            id: "sha256:1".to_owned(),
            entrypoint: vec!["entry".to_owned()],
            ..Image::default()
        };
        Ok(Some(image).filter(|_| name != "missing"))
    }

    async fn pull(&self, name: &str) -> Result<Image, RuntimeError> {
        Err(RuntimeError::Pull {
            image: name.to_owned(),
            reason: "no network".to_owned(),
        })
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxState, RuntimeError> {
        let sandbox = SandboxState {
            id: format!("{}-{}", spec.pod_uid, spec.attempt),
            pod_uid: spec.pod_uid.clone(),
            pod_namespace: spec.pod_namespace.clone(),
            pod_name: spec.pod_name.clone(),
            attempt: spec.attempt,
            ips: vec![[10, 42, 0, 5].into()],
            ready: true,
            created: Timestamp::now(),
            containers: Vec::new(),
        };
        self.inner
            .lock()
            .unwrap()
            .sandboxes
            .insert(sandbox.id.clone(), sandbox.clone());
        Ok(sandbox)
    }

    async fn stop_sandbox(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.lock().unwrap().sandboxes.remove(id);
        self.changed();
        Ok(())
    }

    async fn start_container(&self, sandbox: &str, spec: &ContainerSpec) -> Result<ContainerState, RuntimeError> {
        let container = ContainerState {
            id: format!("{sandbox}-{}-{}", spec.name, spec.attempt),
            sandbox: sandbox.to_owned(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            image_id: "sha256:1".to_owned(),
            phase: ContainerPhase::Running {
                started: Timestamp::now(),
            },
            log_path: spec.log_path.clone(),
        };
        {
            let mut inner = self.inner.lock().unwrap();
            inner.specs.insert(container.id.clone(), spec.clone());
            let sandbox = inner
                .sandboxes
                .get_mut(sandbox)
                .ok_or_else(|| RuntimeError::Gone(sandbox.to_owned()))?;
            sandbox.containers.push(container.clone());
        }
        self.changed();
        Ok(container)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let name = {
            let mut inner = self.inner.lock().unwrap();
            inner.stops.push(grace.as_secs());
            inner
                .specs
                .get(id)
                .filter(|_| !inner.sandboxes.is_empty())
                .map(|spec| spec.name.clone())
                .ok_or_else(|| RuntimeError::Gone(id.to_owned()))?
        };
        self.end(&name, 143);
        Ok(())
    }

    async fn remove_container(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(&self, container: &str, _: &ExecSpec) -> Result<Streams, RuntimeError> {
        Err(RuntimeError::Gone(container.to_owned()))
    }

    async fn attach(&self, container: &str, _: bool) -> Result<Streams, RuntimeError> {
        Err(RuntimeError::Gone(container.to_owned()))
    }

    async fn connect(&self, sandbox: &str, _: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        Err(RuntimeError::Gone(sandbox.to_owned()))
    }
}
