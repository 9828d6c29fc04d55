//! Starting shims: the server's side of the zygote (see [`super::shim`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

use super::shim::ZYGOTE_ARGUMENT;

/// A running zygote. It ends when this is dropped; its shims do not.
pub(crate) struct Zygote {
    program: PathBuf,
    cgroup: String,
    socket: OwnedFd,
    process: Child,
}

impl Zygote {
    /// Starts one: `program` is a binary whose `main` calls [`super::shim::main_if_shim`].
    pub(super) fn start(program: &Path, cgroup: &str) -> io::Result<Self> {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let process = Command::new(program)
            .args([ZYGOTE_ARGUMENT, cgroup])
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            program: program.to_owned(),
            cgroup: cgroup.to_owned(),
            socket,
            process,
        })
    }

    /// Has a shim forked for the sandbox in `dir`; `connection` is its end of the first connection.
    ///
    /// A zygote that was killed is replaced.
    pub(super) fn fork_shim(&mut self, dir: &Path, connection: &OwnedFd) -> io::Result<()> {
        match self.send(dir, connection) {
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                let replacement = Self::start(&self.program, &self.cgroup)?;
                *self = replacement;
                self.send(dir, connection)
            }
            other => other,
        }
    }

    fn send(&self, dir: &Path, connection: &OwnedFd) -> io::Result<()> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [connection.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let path = [io::IoSlice::new(dir.as_os_str().as_bytes())];
        sendmsg(&self.socket, &path, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It ends by itself when its socket closes, but the socket closes after this; a zygote holds nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
