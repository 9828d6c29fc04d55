//! The images that the manifests name, made of a static busybox.

use std::path::{Path, PathBuf};

use rota_agent::image::build::NewImage;

/// A process that stays until it is asked to end, and then ends at once.
const STAY: &str = "trap 'exit 0' TERM; echo started; while :; do sleep 3600 & wait $!; done";
/// A web server on port 8080 that ends at once when asked to.
const SERVE: &str = "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait $!";

/// An image that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// `busybox` itself.
    Busybox,
    /// `kubetm/init`: works for three seconds.
    Init,
    /// `kubetm/app`: a web server on port 8080.
    App,
    /// `ghcr.io/c1t1d0s7/go-myweb`: a web server on port 8080.
    MyWeb,
    /// `my-app:1.0`: has a `python` that takes two seconds for `migrate.py`.
    MyApp,
    /// `batch-worker:1.0`: works for two seconds.
    BatchWorker,
    /// `backup-tool:1.0`: has a `backup.sh` in its working directory.
    BackupTool,
    /// `fluentd:v1.14`: stays.
    Fluentd,
    /// `monitoring-agent`: stays.
    MonitoringAgent,
}

impl Image {
    /// Its name, as the manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Init => "kubetm/init",
            Self::App => "kubetm/app",
            Self::MyWeb => "ghcr.io/c1t1d0s7/go-myweb",
            Self::MyApp => "my-app:1.0",
            Self::BatchWorker => "batch-worker:1.0",
            Self::BackupTool => "backup-tool:1.0",
            Self::Fluentd => "fluentd:v1.14",
            Self::MonitoringAgent => "monitoring-agent",
        }
    }

    /// Writes it as an archive into `dir`; gives the file.
    pub(crate) fn write(self, dir: &Path) -> PathBuf {
        let busybox = Path::new("/bin/busybox");
        let image = NewImage::busybox(self.name(), busybox)
            .unwrap_or_else(|error| panic!("{}: {error} (apt-get install busybox-static)", busybox.display()));
        let path = dir.join(format!("{}.tar", self.name().replace(['/', ':'], "-")));
        self.furnish(image).write_archive(&path).expect("writing an image");
        path
    }

    fn furnish(self, mut image: NewImage) -> NewImage {
        let mut runs = |script: &str| image.entrypoint = ["sh", "-c", script].map(str::to_owned).to_vec();
        match self {
            Self::Busybox => image,
            Self::Init => {
                runs("echo init started; sleep 3; echo init finished");
                image
            }
            Self::App | Self::MyWeb => {
                runs(SERVE);
                let page = format!("hello from {}\n", self.name());
                image.file("www/index.html", 0o644, page.into())
            }
            Self::MyApp => {
                let script = "#!/bin/sh\necho \"running $1\"\nsleep 2\necho migrated\n";
                image.file("bin/python", 0o755, script.into())
            }
            Self::BatchWorker => {
                runs("echo working; sleep 2; echo done");
                image
            }
            Self::BackupTool => {
                image.working_dir = "/opt/backup".to_owned();
                let script = "#!/bin/sh\necho backup written\n";
                image
                    .dir("opt/backup", 0o755)
                    .file("opt/backup/backup.sh", 0o755, script.into())
            }
            Self::Fluentd | Self::MonitoringAgent => {
                runs(STAY);
                image
            }
        }
    }
}
