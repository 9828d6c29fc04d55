//! Images: names, sharing, removal, and pulling from a registry on this machine.

use std::path::Path;

use rota_agent::image::build::NewImage;
use rota_agent::runtime::{ContainerSpec, Runtime, RuntimeError};

use crate::fixture::{Node, tests};

tests![
    an_imported_image_is_found_under_all_its_names,
    an_image_that_runs_cannot_be_removed,
    an_image_that_is_not_there_is_named,
    importing_twice_changes_nothing,
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
    assert_eq!(layers, 0);
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
