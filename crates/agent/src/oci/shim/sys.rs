//! The system calls of a shim that the type system cannot vouch for.
//!
//! All of them rely on one fact: the zygote and the shims it forks have a single thread from start to end.
#![expect(unsafe_code, reason = "fork, unshare and signal dispositions have no safe binding")]

use std::io;

use rustix::process::Pid;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Forks this single-threaded process: `None` in the child.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread, no lock can be held by a thread that the child does not have.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Enters fresh namespaces of the given kinds.
pub(super) fn leave_namespaces(kinds: UnshareFlags) -> io::Result<()> {
    // SAFETY: with one thread, nothing else in this process relies on the namespaces it leaves; the callers do not
    // unshare the table of file descriptors.
    Ok(unsafe { unshare_unsafe(kinds) }?)
}

/// Lets the kernel reap this process's children.
pub(super) fn ignore_children() {
    // SAFETY: ignoring is no handler; no code of ours runs in signal context.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Undoes [`ignore_children`]: a shim needs its children's exit codes, and containers inherit what is ignored.
pub(super) fn notice_children() {
    // SAFETY: the default is no handler either.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Gives up the server's supplementary groups, which containers would inherit.
pub(super) fn drop_groups() {
    // SAFETY: zero groups; the pointer is not read.
    let _ = unsafe { libc::setgroups(0, std::ptr::null()) };
}

/// Waits for a signal.
pub(super) fn pause() {
    // SAFETY: takes no arguments and has no effect but to wait.
    unsafe { libc::pause() };
}
