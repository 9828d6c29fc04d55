//! The life of a shim once its sandbox stands: wait for any of its descriptors, act, repeat.
//!
//! Waits for connections, requests, output of containers, exits and the deadline of a kill; never for time alone.
//! Order at an exit: leftover processes die, the last output reaches the log, the exit reaches the disk, then whoever
//! listens is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rota_api::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, pidfd_send_signal, waitpid};

use super::connection::Connection;
use super::container::{Context, Started, Template};
use super::log::{Log, Stream};
use super::process::{Process, Role, Streams};
use super::sandbox::{self, Sandbox};
use super::spec::PidNamespace;
use super::strays::Strays;
use crate::oci::cgroup::Cgroups;
use crate::oci::protocol::{CHUNK_BYTES, Envelope, Failure, FrameKind, Reply, Request, Setup, Start};
use crate::oci::record::{CONTAINER_FILE, ContainerRecord, Durability, SOCKET_FILE, container_dir, write_record};
use crate::runtime::ContainerPhase;

/// Chunks read from one stream before the others get their turn.
const CHUNKS_PER_TURN_MAX: usize = 16;
/// Chunks read of what a process had said when it ended: as much as a pipe can hold. Whoever it left behind may write for ever.
const CHUNKS_AT_END_MAX: usize = (1 << 20) / CHUNK_BYTES;

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Connection(u64),
    Exit(u64),
    Output(u64, Stream),
    Input(u64),
    Stray(Pid),
}

/// A container, running or ended.
struct Container {
    record: ContainerRecord,
    process: Option<u64>,
    log: Log,
    template: Template,
    stop_signal: Signal,
    /// When it is killed, once it was asked to end.
    kill_at: Option<Instant>,
    /// Who is told when it has ended.
    waiting: Vec<(u64, u64)>,
}

/// A shim.
pub(crate) struct Server {
    dir: PathBuf,
    setup: Setup,
    cgroups: Cgroups,
    sandbox: Sandbox,
    listener: UnixListener,
    connections: BTreeMap<u64, Connection>,
    processes: BTreeMap<u64, Process>,
    strays: Strays,
    containers: BTreeMap<String, Container>,
    next_key: u64,
    /// Who asked for the end, once someone did.
    shutdown: Option<(u64, u64)>,
}

impl Server {
    /// Makes the sandbox and listens.
    pub(super) fn start(dir: &Path, setup: Setup) -> Result<Self, Failure> {
        let cgroups = Cgroups::of_host().map_err(|e| Failure::node("reading the cgroup mounts", e))?;
        cgroups
            .create(&setup.cgroup, &setup.spec.resources)
            .map_err(|e| Failure::node("making the pod's cgroup", e))?;
        let sandbox = sandbox::enter(dir, &setup).map_err(|(what, e)| Failure::node(what, e))?;
        let listener = listen(dir).map_err(|e| Failure::node("listening in the sandbox's directory", e))?;
        Ok(Self {
            dir: dir.to_owned(),
            setup,
            cgroups,
            sandbox,
            listener,
            connections: BTreeMap::new(),
            processes: BTreeMap::new(),
            strays: Strays::default(),
            containers: BTreeMap::new(),
            next_key: 1,
            shutdown: None,
        })
    }

    /// Takes over the connection the shim was born with and answers its request.
    pub(super) fn adopt(&mut self, stream: UnixStream, request: u64, reply: Reply) -> io::Result<()> {
        let mut connection = Connection::new(stream)?;
        connection.wants_exits = true;
        connection.send(request, reply);
        let key = self.key();
        self.connections.insert(key, connection);
        Ok(())
    }

    /// Runs until the sandbox is shut down.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            for (token, events) in self.wait()? {
                self.react(token, events);
            }
            self.kill_overdue();
            self.connections.retain(|_, connection| !connection.is_broken());
            self.release_orphans();
            if self.shutdown.is_some() && self.processes.is_empty() && self.strays.is_empty() {
                return self.finish();
            }
        }
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Waits until something is to be done.
    fn wait(&self) -> io::Result<Vec<(Token, PollFlags)>> {
        let mut tokens = vec![Token::Listener];
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for (key, connection) in &self.connections {
            let write = if connection.wants_to_write() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            let read = if self.has_room_for_input(connection) {
                PollFlags::IN
            } else {
                PollFlags::empty()
            };
            tokens.push(Token::Connection(*key));
            fds.push(PollFd::new(&connection.stream, read | write));
        }
        for (key, process) in &self.processes {
            tokens.push(Token::Exit(*key));
            fds.push(PollFd::new(&process.pidfd, PollFlags::IN));
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(fd) = process.output(stream).filter(|_| self.has_room_for_output(process)) {
                    tokens.push(Token::Output(*key, stream));
                    fds.push(PollFd::new(fd, PollFlags::IN));
                }
            }
            if let Some(fd) = process.wants_stdin() {
                tokens.push(Token::Input(*key));
                fds.push(PollFd::new(fd, PollFlags::OUT));
            }
        }
        for (pid, pidfd) in self.strays.iter() {
            tokens.push(Token::Stray(pid));
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        let deadline = self.containers.values().filter_map(|container| container.kill_at).min();
        let timeout =
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        }
        let ready = tokens.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, events)| !events.is_empty()).collect())
    }

    /// The output of a process that only one connection wants is left in the kernel while that connection is behind.
    fn has_room_for_output(&self, process: &Process) -> bool {
        match process.role {
            Role::First => true,
            Role::Additional { connection, .. } => self.connections.get(&connection).is_none_or(|c| !c.is_full()),
        }
    }

    /// What a connection has for a process that does not read is left in the kernel. That it was closed is seen all the same.
    fn has_room_for_input(&self, connection: &Connection) -> bool {
        let process = connection.process.and_then(|key| self.processes.get(&key));
        process.is_none_or(|process| !process.is_full())
    }

    fn react(&mut self, token: Token, events: PollFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Connection(key) => self.serve(key, events),
            Token::Exit(key) => self.reap(key),
            Token::Output(key, stream) => self.relay(key, stream, CHUNKS_PER_TURN_MAX),
            Token::Input(key) => {
                if let Some(process) = self.processes.get_mut(&key) {
                    process.flush_stdin();
                }
            }
            Token::Stray(pid) => self.strays.reap(pid),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Ok(connection) = Connection::new(stream) {
                let key = self.key();
                self.connections.insert(key, connection);
            }
        }
    }

    fn serve(&mut self, key: u64, events: PollFlags) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if events.contains(PollFlags::OUT) {
            connection.flush();
        }
        if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            connection.receive();
        }
        while let Some((kind, payload)) = self.connections.get_mut(&key).and_then(Connection::next_frame) {
            match kind {
                FrameKind::Message => self.answer(key, &payload),
                FrameKind::Stdin => self.feed(key, &payload),
                FrameKind::Stdout | FrameKind::Stderr => {}
            }
        }
    }

    fn answer(&mut self, key: u64, payload: &[u8]) {
        let Ok(Envelope { id, body }) = serde_json::from_slice::<Envelope<Request>>(payload) else {
            return self.reply(
                key,
                0,
                Reply::Failed(Failure::node("reading a request", "it is from another version")),
            );
        };
        let reply = match body {
            Request::Setup(_) => Some(Reply::Failed(Failure::node(
                "setting the sandbox up",
                "it stands already",
            ))),
            Request::Hello => Some(self.hello(key)),
            Request::Start(start) => Some(self.start_container(&start)),
            Request::Stop { container, grace_ms } => self.stop(&container, Duration::from_millis(grace_ms), (key, id)),
            Request::Remove { container } => Some(self.remove(&container)),
            Request::Exec {
                container,
                args,
                stdin,
                tty,
                kill_when_left,
            } => {
                let role = Role::Additional {
                    connection: key,
                    request: id,
                    kill_when_left,
                };
                self.exec(&container, &args, stdin, tty, role)
            }
            Request::Attach { container } => Some(self.attach(&container, key)),
            Request::Resize { columns, rows } => {
                if let Some(process) = self.bound_process(key) {
                    process.resize(columns, rows);
                }
                None
            }
            Request::Shutdown => {
                self.shut_down((key, id));
                None
            }
        };
        if let Some(reply) = reply {
            self.reply(key, id, reply);
        }
    }

    fn reply(&mut self, key: u64, id: u64, reply: Reply) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.send(id, reply);
        }
    }

    fn hello(&mut self, key: u64) -> Reply {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.wants_exits = true;
        }
        Reply::Containers(
            self.containers
                .values()
                .map(|container| container.record.state.clone())
                .collect(),
        )
    }

    fn context(&self) -> Context<'_> {
        Context {
            dir: &self.dir,
            sandbox_id: &self.setup.id,
            cgroup: &self.setup.cgroup,
            cgroups: &self.cgroups,
            sandbox: &self.sandbox,
        }
    }

    fn start_container(&mut self, start: &Start) -> Reply {
        if let Some(container) = self.containers.get(&start.id) {
            return Reply::Started(Box::new(container.record.state.clone()));
        }
        if self.shutdown.is_some() {
            return Reply::Failed(Failure::gone("the sandbox"));
        }
        let started = Log::open(&start.spec.log_path)
            .map_err(|e| Failure::node(format_args!("opening the log {}", start.spec.log_path.display()), e))
            .and_then(|log| Ok((log, self.context().start(start, self.target(start)?)?)))
            .and_then(|(log, started)| self.keep(start, log, started));
        match started {
            Ok(state) => Reply::Started(Box::new(state)),
            Err(failure) => {
                self.end_strays();
                Reply::Failed(failure)
            }
        }
    }

    /// The first process of the container whose processes another is to see.
    fn target(&self, start: &Start) -> Result<Option<Pid>, Failure> {
        let target = &start.spec.target;
        if target.is_empty() || self.sandbox.pids != PidNamespace::Own {
            return Ok(None);
        }
        let mut processes = self.processes.values().filter(|process| process.role == Role::First);
        let found = processes.find(|process| {
            let container = self.containers.get(&process.container);
            container.is_some_and(|container| container.record.state.name == *target)
        });
        let what = || format!("joining the processes of container {target:?}");
        found
            .map(|process| Some(process.pid))
            .ok_or_else(|| Failure::node(what(), "it is not running"))
    }

    fn keep(&mut self, start: &Start, log: Log, started: Started) -> Result<crate::runtime::ContainerState, Failure> {
        let key = self.key();
        let Started {
            record,
            pid,
            streams,
            template,
        } = started;
        let mut process = Process::new(start.id.clone(), Role::First, pid, streams)
            .map_err(|e| Failure::node("watching the container", e))?;
        // The next client goes on with a terminal. Source: containerd `internal/cri/io/container_io.go` (`Attach`).
        process.stdin_stays = !start.spec.stdin_once || start.spec.tty;
        self.processes.insert(key, process);
        let state = record.state.clone();
        let stop_signal = signal(&start.stop_signal).unwrap_or(Signal::TERM);
        let container = Container {
            record,
            process: Some(key),
            log,
            template,
            stop_signal,
            kill_at: None,
            waiting: Vec::new(),
        };
        self.containers.insert(start.id.clone(), container);
        Ok(state)
    }

    /// Asks a container to end; the answer comes when it has.
    fn stop(&mut self, id: &str, grace: Duration, who: (u64, u64)) -> Option<Reply> {
        let Some(container) = self.containers.get_mut(id) else {
            return Some(Reply::Done);
        };
        let Some(process) = container.process.and_then(|key| self.processes.get(&key)) else {
            return Some(Reply::Done);
        };
        container.waiting.push(who);
        let kill_at = Instant::now() + grace;
        if container.kill_at.is_none() && !grace.is_zero() {
            let _ = pidfd_send_signal(&process.pidfd, container.stop_signal);
        }
        // A later, shorter grace shortens an earlier one.
        container.kill_at = Some(container.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
        None
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for container in self
            .containers
            .values_mut()
            .filter(|c| c.kill_at.is_some_and(|at| at <= now))
        {
            container.kill_at = None;
            if let Some(process) = container.process.and_then(|key| self.processes.get(&key)) {
                let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
            }
        }
    }

    fn remove(&mut self, id: &str) -> Reply {
        match self.containers.get(id) {
            Some(container) if container.process.is_some() => {
                return Reply::Failed(Failure::node("removing the container", "it still runs"));
            }
            _ => self.containers.remove(id),
        };
        Reply::Done
    }

    /// Starts a process for a connection; the connection carries its streams from then on.
    fn exec(&mut self, id: &str, args: &[String], stdin: bool, tty: bool, role: Role) -> Option<Reply> {
        let Role::Additional { connection, .. } = role else {
            return None;
        };
        let Some(container) = self.containers.get(id).filter(|container| container.process.is_some()) else {
            return Some(Reply::Failed(Failure::gone(&format!("running container {id}"))));
        };
        let started = self.context().exec(id, &container.template, args, stdin, tty);
        let key = self.key();
        let process = started.and_then(|(pid, streams)| {
            Process::new(id.to_owned(), role, pid, streams).map_err(|e| Failure::node("watching the process", e))
        });
        match process {
            Err(failure) => {
                self.end_strays();
                Some(Reply::Failed(failure))
            }
            Ok(process) => {
                self.processes.insert(key, process);
                self.connections.get_mut(&connection)?.process = Some(key);
                Some(Reply::Done)
            }
        }
    }

    fn attach(&mut self, id: &str, key: u64) -> Reply {
        let process = self.containers.get(id).and_then(|container| container.process);
        match (process, self.connections.get_mut(&key)) {
            (Some(process), Some(connection)) => {
                connection.process = Some(process);
                Reply::Done
            }
            _ => Reply::Failed(Failure::gone(&format!("running container {id}"))),
        }
    }

    fn bound_process(&mut self, connection: u64) -> Option<&mut Process> {
        self.processes.get_mut(&self.connections.get(&connection)?.process?)
    }

    fn feed(&mut self, connection: u64, bytes: &[u8]) {
        let Some(process) = self.bound_process(connection) else {
            return;
        };
        if bytes.is_empty() && process.stdin_stays {
            // As CRI runtimes do: a client of input that stays is gone once its own has ended.
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.process = None;
            }
            self.reply(connection, 0, Reply::Left);
        } else {
            process.feed(bytes);
        }
    }

    /// Moves output of a process to its log and to whoever is bound to it.
    fn relay(&mut self, key: u64, stream: Stream, chunks_max: usize) {
        let mut buffer = [0; CHUNK_BYTES];
        for _ in 0..chunks_max {
            let Some(process) = self.processes.get_mut(&key) else {
                return;
            };
            let Some(count) = process.read(stream, &mut buffer).filter(|count| *count > 0) else {
                return;
            };
            let bytes = &buffer[..count];
            if process.role == Role::First
                && let Some(container) = self.containers.get_mut(&process.container)
            {
                // A full disk loses log lines, not containers.
                let _ = container.log.write(stream, bytes, Timestamp::now());
            }
            let kind = match stream {
                Stream::Stdout => FrameKind::Stdout,
                Stream::Stderr => FrameKind::Stderr,
            };
            for connection in self
                .connections
                .values_mut()
                .filter(|connection| connection.process == Some(key))
            {
                connection.send_bytes(kind, bytes);
            }
        }
    }

    /// Takes note of the end of a process.
    fn reap(&mut self, key: u64) {
        let Some(process) = self.processes.get(&key) else {
            return;
        };
        let Some(code) = process.try_wait() else { return };
        let (id, role) = (process.container.clone(), process.role.clone());
        if role == Role::First {
            let group = self.context().container_cgroup(&id);
            let oom_killed = self.cgroups.oom_kills(&group) > 0;
            self.cgroups.kill(&group);
            self.drain(key);
            self.record_exit(&id, code, oom_killed);
            // The group empties when its last processes are reaped; what cannot be removed goes with the sandbox.
            self.cgroups.remove_in_passing(&group);
            self.context().disassemble(&id);
        } else {
            self.drain(key);
        }
        self.processes.remove(&key);
        let bound: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.process == Some(key))
            .map(|(k, _)| *k)
            .collect();
        for connection in bound {
            self.reply(connection, 0, Reply::ProcessExited { code });
        }
    }

    fn drain(&mut self, key: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.relay(key, stream, CHUNKS_AT_END_MAX);
        }
    }

    fn record_exit(&mut self, id: &str, code: i32, oom_killed: bool) {
        let path = container_dir(&self.dir, id).join(CONTAINER_FILE);
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let finished = Timestamp::now();
        let _ = container.log.finish(finished);
        let (ContainerPhase::Running { started } | ContainerPhase::Exited { started, .. }) =
            container.record.state.phase;
        let oom_killed = oom_killed && code != 0;
        container.record.state.phase = ContainerPhase::Exited {
            started,
            finished,
            exit_code: code,
            oom_killed,
            message: String::new(),
        };
        container.process = None;
        container.kill_at = None;
        // A disk that refuses leaves the older record, "running": the next inventory finds its process gone.
        let _ = write_record(&path, &container.record, Durability::Power);
        let state = container.record.state.clone();
        let waiting = std::mem::take(&mut container.waiting);
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| connection.wants_exits)
        {
            connection.send(0, Reply::Exited(Box::new(state.clone())));
        }
        for (connection, request) in waiting {
            self.reply(connection, request, Reply::Done);
        }
    }

    /// After a start that failed: ends what is left of it.
    fn end_strays(&mut self) {
        let (processes, pause) = (&self.processes, self.sandbox.pause);
        let known = |pid| pause == Some(pid) || processes.values().any(|process| process.pid == pid);
        self.strays.end(known);
    }

    /// Drops the streams of processes whose connection is gone, which is how they learn that nobody listens; kills those that
    /// are of no use to anyone then.
    fn release_orphans(&mut self) {
        for process in self.processes.values_mut() {
            if let Role::Additional {
                connection,
                kill_when_left,
                ..
            } = process.role
                && !self.connections.contains_key(&connection)
            {
                process.streams = Streams::default();
                if kill_when_left {
                    process.kill_all();
                }
            }
        }
    }

    fn shut_down(&mut self, who: (u64, u64)) {
        self.shutdown = Some(who);
        self.cgroups.kill(&self.setup.cgroup);
        for process in self.processes.values() {
            let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let _ = fs::remove_file(self.dir.join(SOCKET_FILE));
        if let Some(pause) = self.sandbox.pause {
            let _ = kill_process(pause, Signal::KILL);
            let _ = waitpid(Some(pause), WaitOptions::empty());
        }
        let removed = self.cgroups.remove(&self.setup.cgroup);
        if let Some((key, id)) = self.shutdown {
            let reply = match removed {
                Ok(()) => Reply::Done,
                Err(e) => Reply::Failed(Failure::node("removing the pod's cgroup", e)),
            };
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.stream.set_nonblocking(false)?;
                connection.send(id, reply);
            }
        }
        Ok(())
    }
}

/// Listens in a directory; bound relative to it, because a socket's path must be short.
fn listen(dir: &Path) -> io::Result<UnixListener> {
    std::env::set_current_dir(dir)?;
    let _ = fs::remove_file(SOCKET_FILE);
    let listener = UnixListener::bind(SOCKET_FILE)?;
    std::env::set_current_dir("/")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A signal by its name, with or without `SIG`, or by its number.
fn signal(name: &str) -> Option<Signal> {
    if let Ok(number) = name.parse::<i32>() {
        return Signal::from_named_raw(number);
    }
    let short = name.to_ascii_uppercase();
    Some(match short.trim_start_matches("SIG") {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "WINCH" => Signal::WINCH,
        "PWR" => Signal::POWER,
        "IO" => Signal::IO,
        _ => return None,
    })
}
