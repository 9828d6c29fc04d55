//! The last step of a container's first process: find the command and become it.
//!
//! Runs after namespaces, root, user and capabilities are in place, in a child of the shim. What goes wrong is written
//! to a pipe that closes when the command runs, in the words people know from runc.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

/// Becomes the command of a container.
#[derive(Clone)]
pub(crate) struct BecomeCommand {
    /// The command.
    pub args: Vec<String>,
    /// Its environment, complete and in order.
    pub env: Vec<(String, String)>,
    /// Where failures are written; closes on success.
    pub errors: Arc<File>,
}

impl Executor for BecomeCommand {
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let path = match self.find() {
            Ok(path) => path,
            Err(message) => return Err(ExecutorError::Other(self.report(message))),
        };
        let (name, rest) = self
            .args
            .split_first()
            .map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
        let error = Command::new(&path)
            .arg0(name)
            .args(rest)
            .env_clear()
            .envs(self.env.iter().cloned())
            .exec();
        Err(ExecutorError::Other(self.report(format!(
            "exec {}: {}",
            path.display(),
            words(&error)
        ))))
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        match self.find() {
            Ok(_) => Ok(()),
            Err(message) => Err(ExecutorValidationError::ArgValidationError(self.report(message))),
        }
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is handed over with the command, in order; this process does not need it itself.
        Ok(())
    }
}

impl BecomeCommand {
    fn find(&self) -> Result<PathBuf, String> {
        let name = self.args.first().map_or("", String::as_str);
        if name.contains('/') {
            return match runnable(Path::new(name)) {
                Ok(()) => Ok(PathBuf::from(name)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    Err(format!("exec: {name:?}: stat {name}: {}", words(&e)))
                }
                Err(e) => Err(format!("exec: {name:?}: {}", words(&e))),
            };
        }
        let path = self
            .env
            .iter()
            .rev()
            .find(|(key, _)| key == "PATH")
            .map_or("", |(_, value)| value.as_str());
        let mut refused = None;
        for dir in path.split(':').filter(|_| !name.is_empty()) {
            let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
            match runnable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => refused = Some(e),
                Err(_) => {}
            }
        }
        match refused {
            Some(e) => Err(format!("exec: {name:?}: {}", words(&e))),
            None => Err(format!("exec: {name:?}: executable file not found in $PATH")),
        }
    }

    /// Writes the message to the pipe and hands it back.
    fn report(&self, message: String) -> String {
        let _ = (&*self.errors).write_all(message.as_bytes());
        message
    }
}

fn runnable(path: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

/// The system's words for an error, as Go programs print them.
fn words(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory",
        Some(libc::EACCES) => "permission denied",
        Some(libc::EPERM) => "operation not permitted",
        Some(libc::ENOEXEC) => "exec format error",
        Some(libc::ENOTDIR) => "not a directory",
        Some(libc::EISDIR) => "is a directory",
        Some(libc::E2BIG) => "argument list too long",
        Some(libc::ENOMEM) => "cannot allocate memory",
        Some(libc::ELOOP) => "too many levels of symbolic links",
        Some(libc::ETXTBSY) => "text file busy",
        _ => "input/output error",
    }
}
