//! The shim: one single-threaded process per pod that owns the pod's namespaces and containers and outlives the server.
//!
//! ```text
//! rota ── exec ──▶ zygote ── fork ──▶ shim of pod A ── libcontainer ──▶ containers of pod A
//!  (threads)       (one thread)  └──▶ shim of pod B ──────────────────▶ containers of pod B
//! ```
//!
//! Containers are made by forking, and a process with threads must not fork. So the server starts, by exec, one zygote:
//! the same binary before it has any threads. The zygote forks a shim per pod, which costs a fraction of an exec, and
//! ends with the server; shims do not. A shim reaps its containers, writes their logs, puts each exit on disk before it
//! tells anyone, and answers on a unix socket in the sandbox's directory. It decides nothing.

mod connection;
mod container;
mod executor;
pub(crate) mod log;
mod process;
mod rootfs;
mod sandbox;
mod server;
mod spec;
mod strays;
mod sys;
mod user;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::oci::cgroup::Cgroups;
use crate::oci::protocol::{Envelope, FrameKind, Frames, Reply, Request, Setup, put_message};

/// First argument of a zygote.
pub(crate) const ZYGOTE_ARGUMENT: &str = "__shim";

/// Longest path of a sandbox's directory.
const PATH_BYTES_MAX: usize = 4096;

/// Runs the shim and never returns, if this process was started to be one; returns otherwise.
///
/// Call it first in `main`, before anything starts a thread.
pub fn main_if_shim() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|argument| argument != ZYGOTE_ARGUMENT) {
        return;
    }
    let cgroup = args
        .next()
        .and_then(|group| group.into_string().ok())
        .unwrap_or_default();
    std::process::exit(match be_zygote(&cgroup) {
        Ok(()) => 0,
        Err(e) => {
            tracing::error!(error = %e, "the shim could not start");
            1
        }
    });
}

/// Forks a shim for each sandbox directory that arrives on standard input, until the server is gone.
fn be_zygote(cgroup: &str) -> io::Result<()> {
    // What suits the server's memory is inherited, and is no business of containers.
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    // A session of its own: a terminal's interrupt for the server is not for the containers.
    let _ = rustix::process::setsid();
    // A group of its own: a service manager that ends the server's group must not end the containers' shims.
    Cgroups::of_host()?.join(cgroup, std::process::id());
    sys::ignore_children();
    std::env::set_current_dir("/")?;
    let server = std::io::stdin();
    while let Some((dir, connection)) = receive_sandbox(server.as_fd())? {
        if sys::fork()?.is_some() {
            continue;
        }
        // Replaced, not closed: a descriptor below 3 that is free would be given to a container's stream.
        let null = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        become_shim(&dir, connection);
    }
    Ok(())
}

/// The next sandbox to make and the connection to whoever asked; `None` when the server is gone.
fn receive_sandbox(server: BorrowedFd<'_>) -> io::Result<Option<(PathBuf, UnixStream)>> {
    let mut path = vec![0; PATH_BYTES_MAX];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        server,
        &mut [io::IoSliceMut::new(&mut path)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let connection = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    path.truncate(received.bytes);
    let dir = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
    Ok(connection.map(|connection| (dir, UnixStream::from(connection))))
}

/// The life of a shim.
fn become_shim(dir: &Path, connection: UnixStream) -> ! {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"rota-shim");
    sys::notice_children();
    sys::drop_groups();
    let code = match run(dir, connection) {
        Ok(()) => 0,
        Err(e) => {
            // The log of last resort: the server learns the same from the closed connection.
            let _ = std::fs::write(dir.join("shim.error"), e.to_string());
            1
        }
    };
    std::process::exit(code);
}

fn run(dir: &Path, mut connection: UnixStream) -> io::Result<()> {
    let (id, setup) = receive_setup(&mut connection)?;
    match server::Server::start(dir, setup) {
        Ok(mut server) => {
            server.adopt(
                connection,
                id,
                Reply::Ready {
                    pid: std::process::id(),
                },
            )?;
            server.run()
        }
        Err(failure) => {
            let mut out = Vec::new();
            put_message(&mut out, id, Reply::Failed(failure));
            io::Write::write_all(&mut connection, &out)
        }
    }
}

fn receive_setup(connection: &mut UnixStream) -> io::Result<(u64, Setup)> {
    let mut frames = Frames::default();
    let mut buffer = [0; 8192];
    loop {
        if let Some((FrameKind::Message, payload)) = frames.next()? {
            let Envelope { id, body } = serde_json::from_slice::<Envelope<Request>>(&payload)?;
            return match body {
                Request::Setup(setup) => Ok((id, *setup)),
                other => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("expected Setup, got {other:?}"),
                )),
            };
        }
        match io::Read::read(connection, &mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => frames.push(&buffer[..n]),
        }
    }
}
