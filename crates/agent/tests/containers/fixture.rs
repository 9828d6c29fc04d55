//! A node of its own for each test, and words to speak about it.

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rota_agent::image::build::NewImage;
use rota_agent::oci::{OciConfig, OciRuntime, cleanup};
use rota_agent::runtime::{ContainerPhase, ContainerSpec, ContainerState, Runtime, RuntimeError, SandboxSpec, Streams};
use tokio::io::AsyncReadExt;

/// Longest a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A test: a sentence and what it does.
pub(crate) struct Test {
    /// The sentence.
    pub name: &'static str,
    /// What it does.
    pub body: fn() -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Makes [`Test`]s of async functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// The tests of this module.
        pub(crate) fn tests() -> Vec<$crate::fixture::Test> {
            vec![$($crate::fixture::Test { name: stringify!($name), body: || Box::pin($name()) }),*]
        }
    };
}
pub(crate) use tests;

/// Arguments as the standard harness understands them, as far as test runners use them.
struct Args {
    flags: Vec<String>,
    filters: Vec<String>,
}

impl Args {
    fn new(mut args: impl Iterator<Item = String>) -> Self {
        let (mut flags, mut filters) = (Vec::new(), Vec::new());
        while let Some(arg) = args.next() {
            if matches!(arg.as_str(), "--format" | "--color" | "--test-threads" | "-Z") {
                let _value = args.next();
            } else if arg.starts_with('-') {
                flags.push(arg);
            } else {
                filters.push(arg);
            }
        }
        Self { flags, filters }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// Whether the test of this name is asked for. No test here is an ignored one.
    fn choose(&self, name: &str) -> bool {
        let is_match = |filter: &String| {
            if self.has("--exact") {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        !self.has("--ignored") && (self.filters.is_empty() || self.filters.iter().any(is_match))
    }
}

/// Runs the tests the arguments ask for; the exit code of the process.
#[expect(clippy::print_stdout, reason = "it is a test harness")]
pub(crate) fn run(tests: &[Test]) -> i32 {
    let args = Args::new(std::env::args().skip(1));
    let chosen = tests.iter().filter(|test| args.choose(test.name));
    if args.has("--list") {
        chosen.for_each(|test| println!("{}: test", test.name));
        return 0;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make containers and need root"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("async runtime");
    let mut failed = Vec::new();
    for test in chosen {
        let outcome = runtime.block_on(async {
            let body = tokio::spawn((test.body)());
            tokio::time::timeout(3 * PATIENCE, body).await
        });
        let ok = matches!(outcome, Ok(Ok(())));
        println!("test {} ... {}", test.name, if ok { "ok" } else { "FAILED" });
        if !ok {
            failed.push(test.name);
        }
    }
    println!(
        "\ntest result: {}. {} failed {failed:?}\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len()
    );
    i32::from(!failed.is_empty())
}

/// A node with the image `busybox`; what it made is removed when it is dropped.
pub(crate) struct Node {
    /// Its runtime.
    pub runtime: Arc<OciRuntime>,
    /// Its data directory.
    pub dir: PathBuf,
    config: OciConfig,
    _temporary: Arc<CleanUp>,
}

struct CleanUp(tempfile::TempDir);

impl Drop for CleanUp {
    fn drop(&mut self) {
        if let Err(e) = cleanup(self.0.path()) {
            eprintln!("cleaning up: {e}");
        }
    }
}

impl Node {
    /// A fresh node.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let temporary = tempfile::Builder::new()
            .prefix("rota-containers-")
            .tempdir()
            .expect("temporary directory");
        let dir = temporary.path().to_owned();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let config = OciConfig {
            data_dir: dir.clone(),
            node_name: "n1".to_owned(),
            pod_cidr: format!("10.213.{number}.0/24"),
            cluster_cidr: Some("10.213.0.0/16".to_owned()),
            shim_program: None,
        };
        let temporary = Arc::new(CleanUp(temporary));
        let runtime = OciRuntime::open(config.clone()).await.expect("runtime");
        let node = Self {
            runtime,
            dir,
            config,
            _temporary: temporary,
        };
        node.import(&NewImage::busybox("busybox", Path::new("/bin/busybox")).expect("busybox-static is installed"));
        node
    }

    /// Imports an image.
    pub(crate) fn import(&self, image: &NewImage) {
        let archive = self.dir.join("archive.tar");
        image.write_archive(&archive).expect("archive");
        self.runtime.store().import(&archive).expect("import");
    }

    /// The node after its server was ended and started again.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_after(|| {}).await
    }

    /// The same, with something happening in between.
    pub(crate) async fn restarted_after(self, meanwhile: impl FnOnce()) -> Self {
        let Self {
            runtime,
            dir,
            config,
            _temporary,
        } = self;
        drop(runtime);
        meanwhile();
        let runtime = OciRuntime::open(config.clone()).await.expect("runtime");
        Self {
            runtime,
            dir,
            config,
            _temporary,
        }
    }

    /// Makes a sandbox for a pod with this uid.
    pub(crate) async fn sandbox(&self, uid: &str) -> Pod<'_> {
        self.sandbox_with(sandbox_spec(uid)).await
    }

    /// Makes a sandbox.
    pub(crate) async fn sandbox_with(&self, spec: SandboxSpec) -> Pod<'_> {
        let state = self.runtime.run_sandbox(&spec).await.expect("sandbox");
        Pod {
            node: self,
            id: state.id,
            ip: state.ips.first().copied(),
        }
    }

    /// The container as the inventory has it.
    pub(crate) async fn container(&self, id: &str) -> Option<ContainerState> {
        let sandboxes = self.runtime.inventory().await.expect("inventory");
        sandboxes
            .into_iter()
            .flat_map(|sandbox| sandbox.containers)
            .find(|container| container.id == id)
    }

    /// Waits until a container has ended.
    pub(crate) async fn ended(&self, id: &str) -> Ended {
        let mut exits = self.runtime.exits();
        let phase = match self.container(id).await.expect("container").phase {
            ended @ ContainerPhase::Exited { .. } => ended,
            ContainerPhase::Running { .. } => {
                let exit = async {
                    loop {
                        let state = exits.next().await.expect("exits");
                        if state.id == id {
                            return state.phase;
                        }
                    }
                };
                tokio::time::timeout(PATIENCE, exit)
                    .await
                    .expect("the container ends in time")
            }
        };
        let ContainerPhase::Exited {
            exit_code,
            oom_killed,
            started,
            finished,
            ..
        } = phase
        else {
            unreachable!("it has ended")
        };
        assert!(started <= finished);
        Ended {
            code: exit_code,
            oom_killed,
        }
    }

    /// What a container wrote, without times and streams.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.log_path(name)).expect("log");
        let line = |line: &str| line.splitn(4, ' ').nth(3).expect("CRI log line").to_owned();
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Whether there is a log of a container.
    pub(crate) fn log_exists(&self, name: &str) -> bool {
        self.log_path(name).exists()
    }

    /// Kills a container.
    pub(crate) async fn runtime_stop(&self, id: &str) {
        self.runtime.stop_container(id, Duration::ZERO).await.expect("stop");
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(name).join("0.log")
    }
}

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Whether memory was short.
    pub oom_killed: bool,
}

/// A sandbox of a node.
pub(crate) struct Pod<'a> {
    node: &'a Node,
    /// Its id.
    pub id: String,
    /// Its address.
    pub ip: Option<IpAddr>,
}

impl Pod<'_> {
    /// Starts a container that runs a shell script.
    pub(crate) async fn shell(&self, name: &str, script: &str) -> ContainerState {
        self.start(self.spec(name, &["sh", "-c", script])).await.expect("start")
    }

    /// Runs a shell script to its end: its output.
    pub(crate) async fn output_of(&self, name: &str, script: &str) -> String {
        let state = self.shell(name, script).await;
        let ended = self.node.ended(&state.id).await;
        let log = self.node.log(name);
        assert_eq!(ended.code, 0, "{script}: {log}");
        log
    }

    /// A container of the image `busybox`.
    pub(crate) fn spec(&self, name: &str, args: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            image: "busybox".to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            log_path: self.node.log_path(name),
            ..ContainerSpec::default()
        }
    }

    /// Starts a container.
    pub(crate) async fn start(&self, spec: ContainerSpec) -> Result<ContainerState, RuntimeError> {
        self.node.runtime.start_container(&self.id, &spec).await
    }
}

/// A sandbox for a pod with this uid.
pub(crate) fn sandbox_spec(uid: &str) -> SandboxSpec {
    SandboxSpec {
        pod_uid: uid.to_owned(),
        pod_namespace: "default".to_owned(),
        pod_name: uid.to_owned(),
        hostname: uid.to_owned(),
        ..SandboxSpec::default()
    }
}

/// Reads everything a process writes, and its exit code.
pub(crate) async fn collect(streams: Streams) -> (String, String, i32) {
    let Streams {
        stdin,
        stdout,
        stderr,
        exit,
        resize: _resize,
    } = streams;
    let (mut out, mut err) = (String::new(), String::new());
    drop(stdin);
    let reading = async {
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut out).await.expect("stdout");
        }
        if let Some(mut stderr) = stderr {
            stderr.read_to_string(&mut err).await.expect("stderr");
        }
        exit.await.expect("exit code")
    };
    let code = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the process ends in time");
    (out, err, code)
}
