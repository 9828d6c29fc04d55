//! Starting a container, and further processes in it, with libcontainer.
//!
//! Everything here runs in the shim and blocks it for the few milliseconds it takes. A start that fails leaves nothing
//! behind; one that is interrupted leaves a directory without a record, which counts for nothing and goes with the
//! sandbox.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rota_api::Timestamp;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use super::executor::BecomeCommand;
use super::process::Streams;
use super::rootfs;
use super::sandbox::Sandbox;
use super::spec::{self, PidNamespace, Surroundings};
use super::user::{self, User};
use crate::oci::cgroup::Cgroups;
use crate::oci::protocol::{Failure, Start};
use crate::oci::record::{CONTAINER_FILE, ContainerRecord, Durability, ProcessId, container_dir, write_record};
use crate::runtime::{ContainerPhase, ContainerState, Security};

/// Deepest directory level at which devices of the node are looked for.
const DEVICE_DEPTH_MAX: u32 = 4;

/// What the shim knows beside the request.
pub(crate) struct Context<'a> {
    /// The sandbox's directory.
    pub dir: &'a Path,
    /// Its id.
    pub sandbox_id: &'a str,
    /// Its cgroup.
    pub cgroup: &'a str,
    /// The host's cgroups.
    pub cgroups: &'a Cgroups,
    /// What the shim made of itself.
    pub sandbox: &'a Sandbox,
}

/// What is needed to start further processes in a container.
pub(crate) struct Template {
    user: User,
    env: Vec<(String, String)>,
    cwd: String,
    security: Security,
}

/// A container that was started.
pub(crate) struct Started {
    /// Its record, on disk already.
    pub record: ContainerRecord,
    /// Its first process.
    pub pid: Pid,
    /// The shim's ends of its streams.
    pub streams: Streams,
    /// For further processes.
    pub template: Template,
}

impl Context<'_> {
    /// The cgroup of a container.
    pub(super) fn container_cgroup(&self, id: &str) -> String {
        format!("{}/{}", self.cgroup, &id[..id.len().min(16)])
    }

    /// The bundle of a container, in the sandbox's working directory.
    fn bundle(&self, id: &str) -> PathBuf {
        self.sandbox.run.join(&id[..id.len().min(16)])
    }

    /// Takes the root of an ended container apart.
    pub(super) fn disassemble(&self, id: &str) {
        let bundle = self.bundle(id);
        rootfs::disassemble(&bundle.join("rootfs"));
        let _ = fs::remove_dir_all(&bundle);
        let _ = fs::remove_dir_all(self.libcontainer_root().join(id));
    }

    fn libcontainer_root(&self) -> PathBuf {
        self.sandbox.run.join("state")
    }

    /// Creates and starts a container; `target` is the first process of the container whose processes it is to see.
    pub(super) fn start(&self, start: &Start, target: Option<Pid>) -> Result<Started, Failure> {
        let dir = container_dir(self.dir, &start.id);
        let outcome = self.try_start(start, target, &dir);
        if outcome.is_err() {
            self.disassemble(&start.id);
            self.cgroups.remove_in_passing(&self.container_cgroup(&start.id));
            let _ = fs::remove_dir_all(&dir);
        }
        outcome
    }

    fn try_start(&self, start: &Start, target: Option<Pid>, dir: &Path) -> Result<Started, Failure> {
        let bundle = self.bundle(&start.id);
        let root = bundle.join("rootfs");
        fs::create_dir_all(dir).map_err(|e| Failure::node(format_args!("making {}", dir.display()), e))?;
        rootfs::assemble(&start.root, dir, &root).map_err(|e| Failure::node("mounting the container's root", e))?;
        let security = &start.spec.security;
        let user = user::resolve(&root, &start.image_user, security).map_err(Failure::asker)?;
        let cwd = spec::working_dir(start);
        rootfs::make_dir(&root, Path::new(cwd))
            .map_err(|e| Failure::asker(format!("making the working directory {cwd}: {e}")))?;
        let group = self.container_cgroup(&start.id);
        let mut around = self.surroundings(&root, &user, &group, security);
        if let (PidNamespace::Own, Some(target)) = (&around.pids, target) {
            around.pids = PidNamespace::of(target);
        }
        let held = rootfs::HeldParts::of(&start.spec.mounts, &bundle.join("parts"))
            .map_err(|e| Failure::node("holding a part of a volume", e))?;
        let start = &Start {
            spec: crate::runtime::ContainerSpec {
                mounts: held.mounts.clone(),
                ..start.spec.clone()
            },
            ..start.clone()
        };
        write_json(&bundle.join("config.json"), &spec::document(start, &around))
            .map_err(|e| Failure::node("writing the bundle", e))?;

        let env = spec::environment(start, &user);
        let (mut errors, errors_in) = pipe()
            .map(|(read, write)| (read, Arc::new(write)))
            .map_err(|e| Failure::node("making a pipe", e))?;
        let executor = BecomeCommand {
            args: start.spec.args.clone(),
            env: env.clone(),
            errors: Arc::clone(&errors_in),
        };
        let builder = self.builder(&start.id, executor)?;
        let (builder, wiring) = Wiring::connect(builder, &self.sandbox.run, start.spec.stdin, start.spec.tty)?;
        let built = builder.as_init(&bundle).with_systemd(false).with_detach(true).build();
        let mut container = match built {
            Ok(container) => container,
            Err(e) => {
                drop(errors_in);
                return Err(start_failure(&mut errors, &e));
            }
        };
        let pid = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
        let pid = pid.ok_or_else(|| Failure::node("starting the container", "libcontainer names no process"))?;
        set_oom_score(pid, start.spec.resources.oom_score_adj);
        let streams = wiring.streams()?;
        let record = self.record(start, pid);
        // On disk before it runs: a crash from here on leaves a container that is known to have been started.
        write_record(&dir.join(CONTAINER_FILE), &record, Durability::Process)
            .map_err(|e| Failure::node("writing the container's record", e))?;
        let started = container.start();
        drop(errors_in);
        if let Err(e) = started {
            return Err(kill_unstarted(pid, start_failure(&mut errors, &e)));
        }
        match read_error(&mut errors) {
            Some(message) => Err(kill_unstarted(pid, Failure::asker(message))),
            None => {
                let template = Template {
                    user,
                    env,
                    cwd: cwd.to_owned(),
                    security: security.clone(),
                };
                Ok(Started {
                    record,
                    pid,
                    streams,
                    template,
                })
            }
        }
    }

    /// Starts another process in a running container.
    pub(super) fn exec(
        &self,
        id: &str,
        template: &Template,
        args: &[String],
        stdin: bool,
        tty: bool,
    ) -> Result<(Pid, Streams), Failure> {
        let bundle = self.bundle(id);
        let group = self.container_cgroup(id);
        let around = self.surroundings(&bundle, &template.user, &group, &template.security);
        let process = spec::process(args, tty, &template.env, &template.cwd, &around, &template.security);
        let file = bundle.join("process.json");
        write_json(&file, &process).map_err(|e| Failure::node("writing the process's document", e))?;
        let (mut errors, errors_in) = pipe()
            .map(|(read, write)| (read, Arc::new(write)))
            .map_err(|e| Failure::node("making a pipe", e))?;
        let mut env = template.env.clone();
        if tty && !env.iter().any(|(name, _)| name == "TERM") {
            env.push(("TERM".to_owned(), "xterm".to_owned()));
        }
        let executor = BecomeCommand {
            args: args.to_vec(),
            env,
            errors: Arc::clone(&errors_in),
        };
        let builder = self.builder(id, executor)?;
        let (builder, wiring) = Wiring::connect(builder, &self.sandbox.run, stdin, tty)?;
        let built = builder.as_tenant().with_detach(true).with_process(Some(&file)).build();
        drop(errors_in);
        let pid = match built {
            Ok(pid) => {
                Pid::from_raw(pid.as_raw()).ok_or_else(|| Failure::node("starting the process", "it has no number"))?
            }
            Err(e) => return Err(start_failure(&mut errors, &e)),
        };
        match read_error(&mut errors) {
            Some(message) => Err(kill_unstarted(pid, Failure::asker(message))),
            None => Ok((pid, wiring.streams()?)),
        }
    }

    fn builder(&self, id: &str, executor: BecomeCommand) -> Result<ContainerBuilder, Failure> {
        let builder = ContainerBuilder::new(id.to_owned(), SyscallType::default()).with_executor(executor);
        builder
            .with_root_path(self.libcontainer_root())
            .map_err(|e| Failure::node("preparing libcontainer", e))
    }

    fn surroundings<'a>(
        &'a self,
        root: &'a Path,
        user: &'a User,
        cgroup: &'a str,
        security: &Security,
    ) -> Surroundings<'a> {
        Surroundings {
            root,
            user,
            pids: self.sandbox.pids.clone(),
            shm: &self.sandbox.shm,
            cgroup,
            unified_cgroups: self.cgroups.is_unified(),
            capabilities_held: capabilities_held(),
            devices: if security.privileged {
                node_devices()
            } else {
                Vec::new()
            },
        }
    }

    fn record(&self, start: &Start, pid: Pid) -> ContainerRecord {
        ContainerRecord {
            state: ContainerState {
                id: start.id.clone(),
                sandbox: self.sandbox_id.to_owned(),
                name: start.spec.name.clone(),
                attempt: start.spec.attempt,
                image: start.spec.image.clone(),
                image_id: start.image_id.clone(),
                phase: ContainerPhase::Running {
                    started: Timestamp::now(),
                },
                log_path: start.spec.log_path.clone(),
            },
            process: ProcessId::of(pid.as_raw_nonzero().get().unsigned_abs()).ok(),
        }
    }
}

/// The shim's ends of streams that are being given to a process.
enum Wiring {
    Pipes(Streams),
    Terminal(UnixListener, PathBuf),
}

impl Wiring {
    fn connect(
        builder: ContainerBuilder,
        run: &Path,
        stdin: bool,
        tty: bool,
    ) -> Result<(ContainerBuilder, Self), Failure> {
        let failed = |e: io::Error| Failure::node("connecting the standard streams", e);
        if tty {
            let path = run.join("console.sock");
            let listener = console_listener(run).map_err(failed)?;
            return Ok((builder.with_console_socket(Some(&path)), Self::Terminal(listener, path)));
        }
        let (stdin_fd, stdin_end) = if stdin {
            let (read, write) = pipe().map_err(failed)?;
            (OwnedFd::from(read), Some(OwnedFd::from(write)))
        } else {
            (OwnedFd::from(File::open("/dev/null").map_err(failed)?), None)
        };
        let (stdout, stdout_in) = pipe().map_err(failed)?;
        let (stderr, stderr_in) = pipe().map_err(failed)?;
        let builder = builder
            .with_stdin(stdin_fd)
            .with_stdout(stdout_in)
            .with_stderr(stderr_in);
        let streams = Streams {
            stdin: stdin_end,
            stdout: Some(stdout.into()),
            stderr: Some(stderr.into()),
            terminal: None,
        };
        Ok((builder, Self::Pipes(streams)))
    }

    /// The streams, once the process exists.
    fn streams(self) -> Result<Streams, Failure> {
        match self {
            Self::Pipes(streams) => Ok(streams),
            Self::Terminal(listener, path) => {
                let terminal = receive_terminal(&listener).map_err(|e| Failure::node("receiving the terminal", e));
                let _ = fs::remove_file(path);
                Ok(Streams {
                    terminal: Some(terminal?),
                    ..Streams::default()
                })
            }
        }
    }
}

/// Listens for the terminal; the path is bound relative to its directory, because a socket's path must be short.
fn console_listener(run: &Path) -> io::Result<UnixListener> {
    std::env::set_current_dir(run)?;
    let _ = fs::remove_file("console.sock");
    let listener = UnixListener::bind("console.sock");
    std::env::set_current_dir("/")?;
    listener
}

fn receive_terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (connection, _) = listener.accept()?;
    let mut name = [0; 64];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        connection.as_fd(),
        &mut [io::IoSliceMut::new(&mut name)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let received = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no terminal was sent"))
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((File::from(read), File::from(write)))
}

/// What the process wrote before it gave up; nothing if it runs.
fn read_error(errors: &mut File) -> Option<String> {
    let mut text = Vec::new();
    let _ = errors.read_to_end(&mut text);
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
}

/// The process's own words where it had any: then the command is at fault. Otherwise libcontainer's.
fn start_failure(errors: &mut File, error: &dyn std::error::Error) -> Failure {
    // They were written before libcontainer noticed; a process that hangs is not waited for.
    let _ = rustix::io::ioctl_fionbio(&*errors, true);
    if let Some(message) = read_error(errors) {
        return Failure::asker(message);
    }
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    // libcontainer does not tell a mount that cannot work from a node that does not; the asker can mend the former.
    Failure::asker(message)
}

/// Ends a process that never became the command, and reaps it.
fn kill_unstarted(pid: Pid, failure: Failure) -> Failure {
    let _ = kill_process(pid, Signal::KILL);
    let _ = waitpid(Some(pid), WaitOptions::empty());
    failure
}

fn set_oom_score(pid: Pid, score: i32) {
    if score != 0 {
        // Lowering it needs a privilege that not every node has; the order of kills is then the kernel's own.
        let _ = fs::write(
            format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()),
            score.to_string(),
        );
    }
}

fn write_json(path: &Path, value: &Value) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(value)?)
}

/// The bounding set of this process, read once: it never changes.
fn capabilities_held() -> u64 {
    static HELD: OnceLock<u64> = OnceLock::new();
    *HELD.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .unwrap_or(0)
    })
}

/// The node's devices, as the OCI document lists them.
fn node_devices() -> Vec<Value> {
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), DEVICE_DEPTH_MAX, &mut devices);
    devices
}

fn collect_devices(dir: &Path, depth: u32, devices: &mut Vec<Value>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        // A container has its own terminals, shared memory and message queues.
        if ["pts", "shm", "mqueue", "console", "ptmx"]
            .iter()
            .any(|own| path == Path::new("/dev").join(own))
        {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            if depth > 0 {
                collect_devices(&path, depth - 1, devices);
            }
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.push(json!({
                "path": path,
                "type": if kind.is_char_device() { "c" } else { "b" },
                "major": rustix::fs::major(meta.rdev()),
                "minor": rustix::fs::minor(meta.rdev()),
                "fileMode": meta.mode() & 0o7777,
                "uid": meta.uid(),
                "gid": meta.gid(),
            }));
        }
    }
}
