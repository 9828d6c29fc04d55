//! Children of starts that failed half-way: ended, and reaped when they have.
//!
//! The first process of a process namespace does not end before everyone in it was reaped, and whoever was started into a
//! container from outside is reaped by the shim alone. So one child that is forgotten keeps its container from ending for
//! ever, killed or not; a child is therefore watched until it was reaped, however long its end takes.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

/// Children that are to end, each with what becomes readable when it has.
#[derive(Debug, Default)]
pub(crate) struct Strays(Vec<(Pid, OwnedFd)>);

impl Strays {
    /// Ends every child of this thread that is not `known`.
    pub(super) fn end(&mut self, known: impl Fn(Pid) -> bool) {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in pids.filter_map(Pid::from_raw).filter(|pid| !known(*pid)) {
            // A child's number is its own until it is waited for.
            let _ = kill_process(pid, Signal::KILL);
            let is_watched = self.0.iter().any(|(watched, _)| *watched == pid);
            if let (false, Ok(pidfd)) = (is_watched, pidfd_open(pid, PidfdFlags::empty())) {
                self.0.push((pid, pidfd));
            }
        }
    }

    /// True when all have been reaped.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be watched.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pid, &OwnedFd)> {
        self.0.iter().map(|(pid, pidfd)| (*pid, pidfd))
    }

    /// Reaps a child if it has ended.
    pub(super) fn reap(&mut self, pid: Pid) {
        // One that is no child any more has been reaped.
        if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
            self.0.retain(|(watched, _)| *watched != pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn sleeper() -> Pid {
        #[expect(clippy::zombie_processes, reason = "what is tested is who reaps it")]
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        Pid::from_child(&child)
    }

    #[test]
    fn a_child_that_still_runs_is_ended_and_reaped_and_others_are_left_alone() {
        let (known, stray) = (sleeper(), sleeper());
        let mut strays = Strays::default();
        strays.end(|pid| pid == known);
        assert_eq!(strays.iter().map(|(pid, _)| pid).collect::<Vec<_>>(), [stray]);
        while !strays.is_empty() {
            let mut fds: Vec<_> = strays.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
            poll(&mut fds, None).unwrap();
            strays.reap(stray);
        }
        // Neither a zombie nor anything else is left of it.
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(children.trim(), known.as_raw_nonzero().to_string());
        kill_process(known, Signal::KILL).unwrap();
        waitpid(Some(known), WaitOptions::empty()).unwrap();
    }
}
