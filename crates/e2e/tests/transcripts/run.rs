//! Carries out a transcript with one kubectl against one cluster.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rota_e2e::Cluster;
use tempfile::TempDir;

use crate::normal::normal;
use crate::transcript::{Mode, Step, Version, parse_version};

/// Between two looks at something that takes time.
const BETWEEN_LOOKS: Duration = Duration::from_millis(150);

/// Longest that a command of a transcript may run, and may take to print what is expected.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a text must have stayed the same before it is recorded as what a command prints in the end.
const SETTLED: Duration = Duration::from_secs(3);

/// A kubectl, a cluster for it, and what runs between them.
pub(crate) struct Terminal {
    /// The version that the kubectl says it has.
    pub(crate) version: Version,
    cluster: Cluster,
    home: TempDir,
    running: BTreeMap<String, Running>,
}

/// A command that was begun; it is ended when dropped.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Terminal {
    /// The program `kubectl`, and the cluster.
    pub(crate) fn new(kubectl: &Path, cluster: Cluster) -> Self {
        let home = TempDir::with_prefix("rota-transcript-").expect("a temporary directory");
        // A script rather than a link: some kubectls look for others beside themselves.
        let bin = home.path().join("bin");
        std::fs::create_dir(&bin).expect("a directory");
        let script = bin.join("kubectl");
        std::fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", kubectl.display())).expect("a script");
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("permissions");
        let mut terminal = Self {
            version: (0, 0),
            cluster,
            home,
            running: BTreeMap::new(),
        };
        // Only when it knows the server does a kubectl that stands for several decide which it is.
        let (text, _) = terminal.shell("kubectl version -o json 2>/dev/null");
        let versions: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", kubectl.display()));
        let number = |name: &str| versions["clientVersion"][name].as_str().unwrap_or_default();
        terminal.version = parse_version(&format!("{}.{}", number("major"), number("minor")));
        terminal
    }

    /// Carries out a step. Gives what it printed, or in the end printed, and whether that is as expected.
    pub(crate) fn step(&mut self, step: &Step) -> (String, bool) {
        let expected = step.expected(self.version);
        let printed = match &step.mode {
            Mode::Once => self.once(&step.command),
            Mode::Eventually => self.eventually(&step.command, expected),
            Mode::Begin { name, lines } => {
                self.begin(name, &step.command);
                self.printed(name, *lines);
                String::new()
            }
            Mode::End { name, lines } => {
                self.printed(name, *lines);
                let running = self.running.remove(name).expect("it was begun");
                let output = running.output.clone();
                drop(running);
                normal(&std::fs::read_to_string(output).expect("what it printed"))
            }
        };
        let same = printed == expected;
        (printed, same)
    }

    fn once(&self, command: &str) -> String {
        let (text, code) = self.shell(command);
        let mut text = normal(&text);
        if code != 0 {
            text.push_str(&format!("\n[exit {code}]"));
        }
        text.trim_start_matches('\n').to_owned()
    }

    /// Ends when it prints what is expected, or has long printed the same other thing.
    fn eventually(&self, command: &str, expected: &str) -> String {
        let patience = if recording() { SETTLED } else { PATIENCE };
        let mut printed = self.once(command);
        let mut since = Instant::now();
        while printed != expected && since.elapsed() < patience {
            sleep(BETWEEN_LOOKS);
            let now = self.once(command);
            if now != printed && recording() {
                since = Instant::now();
            }
            printed = now;
        }
        printed
    }

    fn begin(&mut self, name: &str, command: &str) {
        let output = self.home.path().join(name);
        let file = File::create(&output).expect("a file");
        let both = file.try_clone().expect("a file");
        let child = self
            .command(&format!("exec {command}"))
            .stdout(file)
            .stderr(both)
            .spawn()
            .expect("a shell");
        self.running.insert(name.to_owned(), Running { child, output });
    }

    /// Waits until a command has printed so many lines.
    fn printed(&self, name: &str, lines: usize) {
        let running = self.running.get(name).unwrap_or_else(|| panic!("{name} was not begun"));
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&running.output).expect("what it printed");
            if text.lines().count() >= lines {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{name} should print {lines} lines:\n{text}");
            sleep(BETWEEN_LOOKS);
        }
    }

    fn shell(&self, command: &str) -> (String, i32) {
        let output = self
            .command(&format!("{{ {command}\n}} 2>&1"))
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text, output.status.code().unwrap_or(-1))
    }

    fn command(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("timeout");
        shell
            .args([&PATIENCE.as_secs().to_string(), "sh", "-c", command])
            .current_dir(crate::data())
            .env("PATH", format!("{}:{path}", self.home.path().join("bin").display()))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        shell
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether what is printed becomes what is expected.
pub(crate) fn recording() -> bool {
    std::env::var_os("RECORD_TRANSCRIPTS").is_some()
}
