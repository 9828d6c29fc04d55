//! Which stories may run side by side.
//!
//! Every cluster numbers its pods' addresses alike, so a story that talks to an address of a node or a pod must have the
//! machine's network for itself. A lock file decides, because test runners put each test into a process of its own.

use std::fs::File;

/// A story's right to run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _file: File,
}

impl Turn {
    /// Waits until no story has the network for itself.
    pub(crate) fn shared() -> Self {
        let file = lock_file();
        file.lock_shared().expect("the lock file of the stories");
        Self { _file: file }
    }

    /// Waits until no other story runs.
    pub(crate) fn alone() -> Self {
        let file = lock_file();
        file.lock().expect("the lock file of the stories");
        Self { _file: file }
    }
}

fn lock_file() -> File {
    let path = std::env::temp_dir().join("rota-stories.lock");
    File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
