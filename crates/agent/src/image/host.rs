//! `rota.dev/host`: the host's own programs as an image, so that a machine without a registry can run work.
//!
//! It is not stored: its layers are the host's directories, put together when a container starts.

use crate::runtime::Image;

/// Its name, normalised.
pub(super) const NAME: &str = "rota.dev/host:latest";

/// What is known of it.
pub(super) fn image() -> Image {
    Image {
        id: "rota.dev/host".to_owned(),
        names: vec![NAME.to_owned()],
        cmd: vec!["/bin/sh".to_owned()],
        env: vec![(
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )],
        working_dir: "/".to_owned(),
        ..Image::default()
    }
}
