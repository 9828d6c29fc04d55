//! kubectl: run it, wait for what it says, watch what it says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The kubectls whose output is known word for word: `$KUBECTL_OLD`, that of `$KUBECTL` or `PATH`, `$KUBECTL_NEW`. Without
/// those, the ones that `.ci/run` installs.
pub fn kubectls() -> Vec<PathBuf> {
    let installed = |variable: &str, directory: &str| {
        let path = std::env::var_os(variable).map_or_else(
            || {
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../../target")
                    .join(directory)
                    .join("usr/bin/kubectl")
            },
            PathBuf::from,
        );
        assert!(
            path.exists(),
            "{} is missing: install it as .ci/run does, or set {variable}",
            path.display()
        );
        path
    };
    vec![
        installed("KUBECTL_OLD", "kubectl-debian"),
        in_path(&own_kubectl()),
        installed("KUBECTL_NEW", "kubectl-newest"),
    ]
}

fn own_kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}

/// Where a program is.
fn in_path(program: &Path) -> PathBuf {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&directories).map(|directory| directory.join(program));
    let found = candidates.find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{} is not in PATH: install it, or set KUBECTL", program.display()))
}

/// A kubectl of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// The kubectl of `$KUBECTL`, else of `PATH`. `home` is where it may keep its caches.
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Self {
            program: own_kubectl(),
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        }
    }

    /// The same with another program.
    #[must_use]
    pub fn with_program(&self, program: PathBuf) -> Self {
        Self {
            program,
            home: self.home.join("other"),
            ..self.clone()
        }
    }

    /// A command that is yet to be run; it reads nothing unless it is told to.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()))
    }

    /// Runs a command that must succeed; gives what it wrote to standard output.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {}\n{out}{err}", args.join(" "));
        out
    }

    /// Runs a command that must succeed; gives both that it wrote.
    pub fn run_with_stderr(&self, args: &[&str]) -> (String, String) {
        let output = self.output(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {}\n{out}{err}", args.join(" "));
        (out, err)
    }

    /// Runs a command that must fail; gives what it wrote to standard error.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let out = text(&output.stdout);
        assert!(
            !output.status.success(),
            "kubectl {} should fail\n{out}",
            args.join(" ")
        );
        text(&output.stderr)
    }

    /// Runs a command with `-o json`; gives the answer.
    pub fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["-o", "json"]].concat();
        serde_json::from_str(&self.run(&args)).expect("JSON of kubectl")
    }

    /// How this kubectl must be told of a CronJob in `create job --from`. Those before 1.21 know `batch/v1beta1` only, and
    /// say so when a server prefers `batch/v1`.
    pub fn from_cron_job(&self, name: &str) -> String {
        let version: Value = serde_json::from_str(&self.run(&["version", "--client", "-o", "json"])).expect("JSON");
        let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default();
        let minor: u32 = minor.trim_end_matches('+').parse().expect("a minor version");
        if minor < 21 {
            format!("--from=cronjobs.v1beta1.batch/{name}")
        } else {
            format!("--from=cronjob/{name}")
        }
    }

    /// Applies a file.
    pub fn apply(&self, path: &str) -> String {
        self.run(&["apply", "-f", path])
    }

    /// The path of a file below this cluster's directory with `text` in it, for `-f`.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).expect("writing a manifest");
        path.to_string_lossy().into_owned()
    }

    /// Applies a text.
    pub fn apply_text(&self, name: &str, manifest: &str) -> String {
        self.apply(&self.file(&format!("{name}.yaml"), manifest))
    }

    /// Runs a command until what it writes is as wanted; gives that. `what` completes the sentence "waiting for …".
    pub fn until(&self, what: &str, args: &[&str], is_so: impl Fn(&str) -> bool) -> String {
        self.until_within(PATIENCE, what, args, is_so)
    }

    /// The same with another patience.
    pub fn until_within(&self, most: Duration, what: &str, args: &[&str], is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let output = self.output(args);
            let out = text(&output.stdout);
            if output.status.success() && is_so(&out) {
                return out;
            }
            if began.elapsed() > most {
                let err = text(&output.stderr);
                let state = text(&self.output(&["get", "nodes,all,events", "-A", "-o", "wide"]).stdout);
                panic!(
                    "waited {most:?} for {what}; kubectl {}\n{out}{err}\n{state}",
                    args.join(" ")
                );
            }
            sleep(BETWEEN_LOOKS);
        }
    }

    /// Starts a command that goes on writing, such as `get --watch`.
    pub fn watch(&self, args: &[&str]) -> Watch {
        let file = tempfile::NamedTempFile::new_in(&self.home).expect("a temporary file");
        let out = File::create(file.path()).expect("a temporary file");
        let child = self.command(args).stdout(out).spawn().expect("kubectl");
        Watch { child, file }
    }
}

/// A kubectl that goes on writing; it is ended when dropped.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    file: tempfile::NamedTempFile,
}

impl Watch {
    /// What it wrote so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).expect("what kubectl wrote")
    }

    /// Waits until what it wrote is as wanted.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited {PATIENCE:?} for {what}; kubectl wrote\n{text}"
            );
            sleep(BETWEEN_LOOKS);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
