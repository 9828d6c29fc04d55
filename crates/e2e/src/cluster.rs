//! A cluster of its own for each story: `rota up` in a temporary directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::proxy::{Faults, Proxy};
use crate::{Image, Kubectl, rota};

/// What tells `rota up` to leave the controllers of the three kinds to somebody else.
pub const NO_CONTROLLERS: &str = "--controllers=*,-job,-cronjob,-daemonset,-ttl";

/// A running cluster. It is stopped and removed when dropped; says its log when the story failed.
pub struct Cluster {
    kubectl: Kubectl,
    process: Process,
    args: Vec<String>,
    joined: Vec<PathBuf>,
    reach: Reach,
    remote: Option<Remote>,
    dir: TempDir,
}

/// Where the controllers of a cluster run: every story can be told with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the cluster's own process.
    Inside,
    /// In a process of their own, over HTTPS.
    Remote,
    /// The same with a bad network in between.
    BadNetwork,
}

impl Reach {
    /// As `$ROTA_CONTROLLERS` says: `remote` or `proxy`; inside when it says nothing.
    pub fn of_env() -> Self {
        match std::env::var("ROTA_CONTROLLERS").as_deref() {
            Ok("proxy") => Self::BadNetwork,
            Ok(_) => Self::Remote,
            Err(_) => Self::Inside,
        }
    }
}

/// Controllers that reach the cluster over HTTPS, in place of its own.
struct Remote {
    controllers: Controllers,
    proxy: Option<Proxy>,
}

/// An instance of `rota controllers`. It is stopped when dropped.
#[derive(Debug)]
pub struct Controllers {
    process: Process,
}

/// A node that joined the cluster by `rota join`. It is stopped when dropped.
#[derive(Debug)]
pub struct Joined {
    process: Process,
}

impl Cluster {
    /// Starts `rota up` with `options` and `images`, its controllers where `$ROTA_CONTROLLERS` wants them. Returns when it is
    /// ready.
    pub fn start(options: &[&str], images: &[Image]) -> Self {
        Self::start_with(Reach::of_env(), options, images)
    }

    /// The same with the controllers there; where the options choose controllers, there are no others.
    pub fn start_with(reach: Reach, options: &[&str], images: &[Image]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "stories run containers and need root"
        );
        let dir = TempDir::with_prefix("rota-story-").expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let mut args = vec![
            "up".to_owned(),
            "--json".to_owned(),
            "--listen".to_owned(),
            "127.0.0.1:0".to_owned(),
        ];
        args.extend([
            "--data-dir".to_owned(),
            path("data"),
            "--kubeconfig".to_owned(),
            path("kubeconfig"),
        ]);
        let is_remote = reach != Reach::Inside;
        let is_chosen = options.iter().any(|option| option.starts_with("--controllers"));
        if is_remote && !is_chosen {
            args.push(NO_CONTROLLERS.to_owned());
        }
        args.extend(options.iter().map(|&option| option.to_owned()));
        let archives = images.iter().map(|image| image.write(dir.path()));
        let imports = archives.flat_map(|file| ["--import".to_owned(), file.to_string_lossy().into_owned()]);
        let first: Vec<String> = args.iter().cloned().chain(imports).collect();
        let mut cluster = Self {
            process: Process::start(&first, &dir.path().join("up.log")),
            kubectl: Kubectl::new(&dir.path().join("kubeconfig"), dir.path()),
            args,
            joined: Vec::new(),
            reach,
            remote: None,
            dir,
        };
        if is_remote && !is_chosen {
            cluster.remote = Some(cluster.start_remote());
        }
        cluster
    }

    fn start_remote(&self) -> Remote {
        let proxy = || Proxy::start(&self.kubeconfig(), self.dir.path(), Faults::all(seed()));
        let proxy = (self.reach == Reach::BadNetwork).then(proxy);
        let kubeconfig = proxy.as_ref().map_or_else(|| self.kubeconfig(), Proxy::kubeconfig);
        let options = ["--leader-elect=false", "--request-timeout", "2s"];
        Remote {
            controllers: self.controllers("remote", &kubeconfig, &options),
            proxy,
        }
    }

    /// Starts `rota controllers` with `options` on the cluster of `kubeconfig`. Returns when they are ready.
    pub fn controllers(&self, name: &str, kubeconfig: &str, options: &[&str]) -> Controllers {
        let common = [
            "controllers",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--kubeconfig",
            kubeconfig,
        ];
        let args: Vec<String> = common.iter().chain(options).map(|&arg| arg.to_owned()).collect();
        Controllers {
            process: Process::start(&args, &self.dir.path().join(format!("{name}.log"))),
        }
    }

    /// Starts `rota controllers --shadow`; what it tells goes to `shadow.out` in this story's directory.
    pub fn shadow(&self, options: &[&str]) -> Controllers {
        let kubeconfig = self.kubeconfig();
        let common = [
            "controllers",
            "--shadow",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--kubeconfig",
            &kubeconfig,
        ];
        let args: Vec<&str> = common.iter().chain(options).copied().collect();
        let out = self.dir.path().join("shadow.out");
        let open = |path: &Path| File::options().append(true).create(true).open(path).expect("a file");
        let child = rota(&args)
            .stdin(Stdio::null())
            .stdout(open(&out))
            .stderr(open(&self.dir.path().join("shadow.log")))
            .spawn()
            .expect("starting rota");
        Controllers {
            process: Process {
                child,
                said: String::new(),
                _stdout: None,
            },
        }
    }

    /// How often each thing went wrong on the bad network; empty without one.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        let proxy = self.remote.as_ref().and_then(|remote| remote.proxy.as_ref());
        proxy.map(Proxy::counts).unwrap_or_default()
    }

    /// Where files of this story may be put.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends `rota up` as a crash would: without a chance to do anything.
    pub fn kill(&mut self) {
        self.process.stop(Signal::KILL);
    }

    /// Starts `rota up` on the same directory again.
    pub fn start_again(&mut self) {
        self.process = Process::start(&self.args, &self.dir.path().join("up.log"));
        if self.remote.take().is_some() {
            // The server has another port now.
            self.remote = Some(self.start_remote());
        }
    }

    /// Ends `rota up` and starts it again on the same directory, with `options`, names and values, in place of those it had.
    pub fn start_again_with(&mut self, options: &[&str]) {
        self.process.stop(Signal::TERM);
        for option in options.chunks(2) {
            let at = self.args.iter().position(|arg| arg == option[0]);
            let at = at.unwrap_or(self.args.len());
            let end = (at + 2).min(self.args.len());
            self.args
                .splice(at..end, option.iter().map(|&option| option.to_owned()));
        }
        self.start_again();
    }

    /// Ends `rota up` and starts it again on the same directory, with all controllers of its own.
    pub fn start_again_with_controllers(&mut self) {
        self.process.stop(Signal::TERM);
        self.args.retain(|arg| arg != NO_CONTROLLERS);
        self.process = Process::start(&self.args, &self.dir.path().join("up.log"));
    }

    /// Where it keeps its state.
    pub fn data_dir(&self) -> String {
        self.dir.path().join("data").to_string_lossy().into_owned()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> String {
        self.dir.path().join("kubeconfig").to_string_lossy().into_owned()
    }

    /// Adds a node by `rota join` with the administrator's kubeconfig. Returns when it has joined.
    pub fn join(&mut self, name: &str, pod_cidr: &str, images: &[Image]) -> Joined {
        let kubeconfig = self.kubeconfig();
        self.join_by(name, pod_cidr, images, &["--kubeconfig", &kubeconfig])
    }

    /// Adds a node by `rota join` with the cluster's token, so that it has an identity and an endpoint of its own. Returns
    /// when it has joined.
    pub fn join_with_token(&mut self, name: &str, pod_cidr: &str, images: &[Image]) -> Joined {
        let token = self.dir.path().join("data").join("join-token");
        let token = std::fs::read_to_string(token).expect("the join token");
        let said: serde_json::Value = serde_json::from_str(&self.process.said).expect("one line of JSON");
        let server = said["server"].as_str().expect("the server's address").to_owned();
        self.join_by(name, pod_cidr, images, &[&server, "--token", token.trim()])
    }

    /// The kubeconfig of a node that joined with the token.
    pub fn kubectl_of(&self, node: &str) -> Kubectl {
        let home = self.dir.path().join(node);
        Kubectl::new(&home.join("kubeconfig"), self.dir.path())
    }

    fn join_by(&mut self, name: &str, pod_cidr: &str, images: &[Image], cluster: &[&str]) -> Joined {
        let data = self.dir.path().join(name);
        let data_dir = data.to_string_lossy().into_owned();
        for image in images {
            let archive = image.write(self.dir.path());
            let archive = archive.to_string_lossy();
            let import = rota(&["image", "--data-dir", &data_dir, "import", &archive])
                .output()
                .expect("rota");
            assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
        }
        let common = ["join", "--name", name, "--data-dir", &data_dir, "--pod-cidr", pod_cidr];
        let args: Vec<String> = common.iter().chain(cluster).map(|&arg| arg.to_owned()).collect();
        self.joined.push(data);
        let process = Process::start(&args, &self.dir.path().join(format!("{name}.log")));
        Joined { process }
    }

    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "log"));
        let read = |file: std::fs::DirEntry| {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            format!("--- {}\n{text}", file.path().display())
        };
        logs.map(read).collect()
    }
}

impl Deref for Cluster {
    type Target = Kubectl;

    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.controllers.stop();
        }
        self.process.stop(Signal::TERM);
        let mut failures = String::new();
        for data in self
            .joined
            .iter()
            .map(PathBuf::as_path)
            .chain([self.dir.path().join("data").as_path()])
        {
            failures += &remove(data);
        }
        if std::thread::panicking() {
            let logs = self.logs();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), logs.as_bytes());
        } else {
            assert!(failures.is_empty(), "rota down: {failures}");
        }
    }
}

impl Controllers {
    /// The name under which this instance holds the lease.
    pub fn identity(&self) -> String {
        self.said("identity")
    }

    /// What it said when it was ready.
    fn said(&self, field: &str) -> String {
        let said: serde_json::Value = serde_json::from_str(&self.process.said).expect("one line of JSON");
        said[field].as_str().unwrap_or_default().to_owned()
    }

    /// What `/metrics` and its like answer.
    pub fn http(&self, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.said("health")).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Stops its threads where they are.
    pub fn pause(&self) {
        let _ = kill_process(Pid::from_child(&self.process.child), Signal::STOP);
    }

    /// Lets them go on.
    pub fn resume(&self) {
        let _ = kill_process(Pid::from_child(&self.process.child), Signal::CONT);
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.process.stop(Signal::TERM);
    }

    /// The exit status, once it has ended.
    pub fn exit_status(&mut self) -> Option<i32> {
        self.process
            .child
            .try_wait()
            .ok()
            .flatten()
            .and_then(|status| status.code())
    }
}

impl Joined {
    /// Ends the agent as a power cut would.
    pub fn kill(&mut self) {
        self.process.stop(Signal::KILL);
    }
}

/// Where the draw of a bad network begins.
fn seed() -> u64 {
    std::env::var("ROTA_SEED").map_or(1, |seed| seed.parse().expect("ROTA_SEED is a number"))
}

/// Removes what a data directory runs; gives what went wrong.
fn remove(data: &Path) -> String {
    let data = data.to_string_lossy();
    match rota(&["down", "--purge", "--data-dir", &data]).output() {
        Ok(output) if output.status.success() => String::new(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    }
}

/// A process of the program that has said that it is ready.
#[derive(Debug)]
struct Process {
    child: Child,
    /// Its first line.
    said: String,
    // Kept open: a program whose standard output is closed would be a different story.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    fn start(args: &[String], log: &Path) -> Self {
        let stderr = File::options().append(true).create(true).open(log).expect("a log file");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = rota(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("starting rota");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("what rota says");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        assert!(!line.is_empty(), "rota {} does not start\n{log}", args.join(" "));
        Self {
            child,
            said: line,
            _stdout: Some(stdout),
        }
    }

    /// Sends `signal` and waits for the end.
    fn stop(&mut self, signal: Signal) {
        // One that has ended already needs no signal, and its number may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), signal);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Signal::TERM);
    }
}
