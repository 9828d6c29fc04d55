//! Volumes of a pod: put in place before its containers start, kept up to date while they run, taken down at the end.
//!
//! - `host_path`: directories and files of the node, checked by type;
//! - `empty_dir`: room that lives and ends with the pod, on disk or in memory;
//! - `payload`: what config maps, secrets, downward API, projected volumes and tokens put into files;
//! - `atomic`: such files changed all at once.
//!
//! Source: `spec/node-and-pod.md` §18; kubernetes `pkg/volume/*`.

mod atomic;
mod empty_dir;
mod host_path;
mod payload;
mod sub_path;

use std::io;
use std::path::{Path, PathBuf};

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{Pod, Volume};

use crate::context::Context;
use crate::references::Reference;

pub(crate) use sub_path::resolve as resolve_sub_path;

/// What was put in place, and what it depends on.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Objects whose changes change the files.
    pub(crate) follows: Vec<Reference>,
    /// When a token has to be replaced.
    pub(crate) refresh: Option<Timestamp>,
}

/// Puts all volumes of a pod in place, or brings them up to date. Safe to repeat.
///
/// Errors: the first volume that cannot be, in a sentence for people.
pub(crate) async fn prepare(context: &Context, pod: &Pod) -> Result<Prepared, String> {
    let mut prepared = Prepared::default();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let directory = context.paths.volume(&uid, &volume.name);
        let failed = |why: String| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name);
        if let Some(host_path) = &volume.host_path {
            host_path::ensure(host_path).map_err(failed)?;
        } else if let Some(empty_dir) = &volume.empty_dir {
            empty_dir::ensure(&directory, empty_dir, fs_group(pod)).map_err(|e| failed(e.to_string()))?;
        } else if let Some(payload) = payload::of(context, pod, volume, &mut prepared).await {
            let payload = payload.map_err(failed)?;
            atomic::write(&directory, &payload, fs_group(pod)).map_err(|e| failed(e.to_string()))?;
        } else {
            return Err(failed(format!("volumes of kind {} are not supported", kind(volume))));
        }
    }
    Ok(prepared)
}

/// Where a volume is on the node; `None` when the pod has no such volume.
pub(crate) fn source(context: &Context, pod: &Pod, name: &str) -> Option<PathBuf> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == name)?;
    if let Some(host_path) = &volume.host_path {
        return Some(PathBuf::from(&host_path.path));
    }
    Some(context.paths.volume(pod.metadata.uid.as_deref()?, name))
}

/// Takes down everything below a pod's state directory. Safe to repeat.
///
/// Errors: something is still in use, or the disk failed.
pub(crate) fn take_down(state: &Path) -> io::Result<()> {
    let volumes = match std::fs::read_dir(state.join("volumes")) {
        Ok(volumes) => volumes.collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for volume in volumes {
        empty_dir::unmount(&volume.path())?;
    }
    match std::fs::remove_dir_all(state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    security.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// The name of a volume's kind, as written in a pod.
fn kind(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let mut kinds = fields.map(|(name, _)| name.as_str()).filter(|name| *name != "name");
    kinds.next().unwrap_or("unknown").to_owned()
}
