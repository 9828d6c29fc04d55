//! A cluster of its own for each story: `rota up` in a temporary directory.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Image, Kubectl, rota};

/// A running cluster. It is stopped and removed when dropped; says its log when the story failed.
#[derive(Debug)]
pub struct Cluster {
    kubectl: Kubectl,
    process: Process,
    args: Vec<String>,
    joined: Vec<PathBuf>,
    dir: TempDir,
}

/// A node that joined the cluster by `rota join`. It is stopped when dropped.
#[derive(Debug)]
pub struct Joined {
    process: Process,
}

impl Cluster {
    /// Starts `rota up` with `options` and `images`. Returns when it is ready.
    pub fn start(options: &[&str], images: &[Image]) -> Self {
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
        args.extend(options.iter().map(|&option| option.to_owned()));
        let archives = images.iter().map(|image| image.write(dir.path()));
        let imports = archives.flat_map(|file| ["--import".to_owned(), file.to_string_lossy().into_owned()]);
        let first: Vec<String> = args.iter().cloned().chain(imports).collect();
        Self {
            process: Process::start(&first, &dir.path().join("up.log")),
            kubectl: Kubectl::new(&dir.path().join("kubeconfig"), dir.path()),
            args,
            joined: Vec::new(),
            dir,
        }
    }

    /// Ends `rota up` as a crash would: without a chance to do anything.
    pub fn kill(&mut self) {
        self.process.stop(Signal::KILL);
    }

    /// Starts `rota up` on the same directory again.
    pub fn start_again(&mut self) {
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

    /// Adds a node by `rota join`, with a directory of its own. Returns when it has joined.
    pub fn join(&mut self, name: &str, pod_cidr: &str, images: &[Image]) -> Joined {
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
        let kubeconfig = self.kubeconfig();
        let args = [
            "join",
            "--name",
            name,
            "--data-dir",
            &data_dir,
            "--pod-cidr",
            pod_cidr,
            "--kubeconfig",
            &kubeconfig,
        ];
        self.joined.push(data);
        let process = Process::start(&args.map(str::to_owned), &self.dir.path().join(format!("{name}.log")));
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

impl Joined {
    /// Ends the agent as a power cut would.
    pub fn kill(&mut self) {
        self.process.stop(Signal::KILL);
    }
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
    // Kept open: a program whose standard output is closed would be a different story.
    _stdout: BufReader<ChildStdout>,
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
        Self { child, _stdout: stdout }
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
