//! Images: names, sharing, removal, and pulling from a registry on this machine.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use rota_agent::image::build::NewImage;
use rota_agent::runtime::{ContainerSpec, Runtime, RuntimeError};
use sha2::Digest;

use crate::fixture::{Node, tests};

tests![
    an_imported_image_is_found_under_all_its_names,
    an_image_that_runs_cannot_be_removed,
    an_image_that_is_not_there_is_named,
    importing_twice_changes_nothing,
    an_image_is_pulled_from_a_registry_on_this_machine,
    an_image_the_registry_does_not_have_is_named,
];

async fn an_imported_image_is_found_under_all_its_names() {
    let node = Node::new().await;
    for name in ["busybox", "docker.io/library/busybox:latest", "library/busybox"] {
        let image = node.runtime.image(name).await.expect("store").expect(name);
        assert_eq!(image.names, ["docker.io/library/busybox:latest"]);
        assert_eq!(image.cmd, ["sh"]);
        assert_eq!(node.runtime.image(&image.id).await.expect("store"), Some(image));
    }
    assert_eq!(node.runtime.image("busybox:1").await.expect("store"), None);
}

async fn an_image_that_runs_cannot_be_removed() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let store = node.runtime.store();
    assert_eq!(
        store.remove("busybox").expect_err("in use").kind(),
        std::io::ErrorKind::ResourceBusy
    );
    node.runtime_stop(&state.id).await;
    assert!(store.remove("busybox").expect("remove"));
    assert!(!store.remove("busybox").expect("again"));
    let layers = std::fs::read_dir(node.dir.join("images/layers"))
        .expect("layers")
        .count();
    assert_eq!(layers, 1, "only the one that all images share");
}

async fn an_image_that_is_not_there_is_named() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let spec = ContainerSpec {
        image: "none:1".to_owned(),
        ..pod.spec("main", &["true"])
    };
    assert!(matches!(pod.start(spec).await, Err(RuntimeError::NoImage(name)) if name == "none:1"));
}

async fn importing_twice_changes_nothing() {
    let node = Node::new().await;
    let before = node.runtime.images().await.expect("images");
    node.import(&NewImage::busybox("busybox", Path::new("/bin/busybox")).expect("busybox"));
    assert_eq!(node.runtime.images().await.expect("images"), before);
}

/// Debian's `docker-registry`, keeping its images in a directory; ends when it is dropped.
struct Registry {
    process: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        // Bound once to learn a free port: the registry cannot tell which one it took.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("port");
        let address = free.to_string();
        let config = dir.path().join("config.yml");
        let storage = dir.path().join("images");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            storage.display()
        );
        std::fs::write(&config, text).expect("configuration");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's docker-registry is installed");
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            process,
            address,
            _dir: dir,
        }
    }

    /// Pushes an image of one compressed layer that holds `/greeting`.
    async fn push(&self, name: &str) -> String {
        let name = format!("{}/{name}", self.address);
        let reference: Reference = name.parse().expect("name");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let mut tar = tar::Builder::new(Vec::new());
        let busybox = std::fs::read("/bin/busybox").expect("busybox");
        for (path, mode, bytes) in [
            ("bin/busybox", 0o755, busybox),
            ("greeting", 0o644, b"from the registry".to_vec()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            tar.append_data(&mut header, path, bytes.as_slice()).expect("append");
        }
        let plain = tar.into_inner().expect("layer");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("compress");
        let layer = ImageLayer::oci_v1_gzip(gzip.finish().expect("compress"), None);
        let digest = sha2::Sha256::digest(&plain);
        let diff_id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Entrypoint": ["/bin/busybox", "cat"], "Cmd": ["/greeting"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
        });
        let config = Config::oci_v1(serde_json::to_vec(&config).expect("JSON"), None);
        client
            .push(&reference, &[layer], config, &RegistryAuth::Anonymous, None)
            .await
            .expect("push");
        name
    }
}

async fn an_image_is_pulled_from_a_registry_on_this_machine() {
    let node = Node::new().await;
    let registry = Registry::start().await;
    let name = registry.push("team/greeter:1").await;
    assert_eq!(node.runtime.image(&name).await.expect("store"), None);
    let image = node.runtime.pull(&name).await.expect("pull");
    assert_eq!(
        (&image.names, &image.cmd),
        (&vec![name.clone()], &vec!["/greeting".to_owned()])
    );
    assert_eq!(node.runtime.pull(&name).await.expect("again"), image);
    let pod = node.sandbox("pod-1").await;
    let args = ["/bin/busybox", "cat", "/greeting"];
    let state = pod
        .start(ContainerSpec {
            image: name,
            ..pod.spec("main", &args)
        })
        .await
        .expect("start");
    assert_eq!(node.ended(&state.id).await.code, 0);
    assert_eq!(node.log("main"), "from the registry");
}

async fn an_image_the_registry_does_not_have_is_named() {
    let node = Node::new().await;
    let registry = Registry::start().await;
    let name = format!("{}/none:1", registry.address);
    match node.runtime.pull(&name).await {
        Err(RuntimeError::Pull { image, reason }) => assert!(image == name && reason.contains("none"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
