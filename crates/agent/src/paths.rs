//! Where an agent keeps things on disk.
//!
//! ```text
//! <data>/pods/<ns>_<name>_<uid>/<container>/<attempt>.log    output of containers, in the CRI format
//! <data>/state/<uid>/volumes/<volume>/                       volumes that live and end with the pod
//! <data>/state/<uid>/etc/{hosts,resolv.conf,hostname}        files of the pod that are mounted into its containers
//! <data>/state/<uid>/termination/<container>/<attempt>       what a container says at its end
//! ```

use std::path::{Path, PathBuf};

use rota_api::Meta;

/// The places of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    data: PathBuf,
}

impl Paths {
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// The root of all.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Logs of a pod.
    pub(crate) fn logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.data.join("pods").join(format!("{namespace}_{name}_{uid}"))
    }

    /// Logs of the pod with this header.
    pub(crate) fn logs_of(&self, meta: &Meta) -> PathBuf {
        self.logs(&meta.namespace, &meta.name, &meta.uid)
    }

    /// Everything of a pod but its logs.
    pub(crate) fn state(&self, uid: &str) -> PathBuf {
        self.data.join("state").join(uid)
    }

    /// A volume that lives and ends with its pod.
    pub(crate) fn volume(&self, uid: &str, volume: &str) -> PathBuf {
        self.state(uid).join("volumes").join(volume)
    }

    /// The pod's own files for `/etc`.
    pub(crate) fn etc(&self, uid: &str) -> PathBuf {
        self.state(uid).join("etc")
    }

    /// The file a run writes its last words to.
    pub(crate) fn termination(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.state(uid)
            .join("termination")
            .join(container)
            .join(attempt.to_string())
    }
}

/// The log of one run of a container in a pod's log directory.
pub(crate) fn log(logs: &Path, container: &str, attempt: u32) -> PathBuf {
    logs.join(container).join(format!("{attempt}.log"))
}
