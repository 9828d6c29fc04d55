//! Starting, ending and finding containers again.

use std::path::Path;
use std::time::{Duration, Instant};

use rota_agent::oci::{Removed, cleanup};
use rota_agent::runtime::{ContainerPhase, ContainerSpec, Mount, Runtime, RuntimeError};

use crate::fixture::{Ended, Node, tests};

tests![
    a_clean_up_leaves_no_volume_in_memory_and_says_what_it_removed,
    a_container_runs_writes_its_log_and_ends,
    a_command_that_is_not_there_is_named,
    a_container_that_ignores_the_signal_is_killed_after_the_grace,
    a_container_that_heeds_the_signal_ends_at_once,
    containers_survive_the_server_and_are_found_again,
    an_exit_while_the_server_is_away_is_not_lost,
    a_sandbox_whose_shim_is_killed_is_found_dead,
    a_stopped_sandbox_keeps_its_records_until_it_is_removed,
    each_run_starts_from_the_image,
    cleanup_leaves_nothing_behind,
];

async fn a_container_runs_writes_its_log_and_ends() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "echo hello; echo oops >&2; exit 3").await;
    assert_eq!(
        node.ended(&state.id).await,
        Ended {
            code: 3,
            oom_killed: false
        }
    );
    let log = node.log("main");
    assert!(log.contains("hello") && log.contains("oops"), "{log}");
}

async fn a_command_that_is_not_there_is_named() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    for (attempt, command, expected) in [
        (0, "nothing", r#"exec: "nothing": executable file not found in $PATH"#),
        (
            1,
            "/bin/nothing",
            r#"exec: "/bin/nothing": stat /bin/nothing: no such file or directory"#,
        ),
        (2, "/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
    ] {
        let spec = ContainerSpec {
            attempt,
            ..pod.spec("main", &[command])
        };
        match pod.start(spec).await {
            Err(RuntimeError::Start(message)) => assert_eq!(message, expected),
            other => panic!("{command}: {other:?}"),
        }
    }
    assert_eq!(pod.output_of("later", "echo fine").await, "fine");
}

async fn a_container_that_ignores_the_signal_is_killed_after_the_grace() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    // A first process of a namespace ignores signals it has no handler for.
    let state = pod.shell("main", "while true; do sleep 1; done").await;
    let before = Instant::now();
    node.runtime
        .stop_container(&state.id, Duration::from_millis(300))
        .await
        .expect("stop");
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(node.ended(&state.id).await.code, 137);
}

async fn a_container_that_heeds_the_signal_ends_at_once() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod
        .shell(
            "main",
            "trap 'echo bye; exit 143' TERM; echo ready; while true; do sleep 0.05; done",
        )
        .await;
    while !node.log("main").contains("ready") {
        tokio::task::yield_now().await;
    }
    node.runtime
        .stop_container(&state.id, Duration::from_secs(60))
        .await
        .expect("stop");
    assert_eq!(node.ended(&state.id).await.code, 143);
    assert!(node.log("main").contains("bye"));
}

async fn containers_survive_the_server_and_are_found_again() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let (id, ip) = (pod.id.clone(), pod.ip);
    let state = pod
        .shell(
            "main",
            "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done",
        )
        .await;
    while !node.log("main").contains("ready") {
        tokio::task::yield_now().await;
    }
    let node = node.restarted().await;
    let inventory = node.runtime.inventory().await.expect("inventory");
    assert_eq!(inventory.len(), 1);
    assert!(inventory[0].ready);
    assert_eq!((&inventory[0].id, inventory[0].ips.first().copied()), (&id, ip));
    assert_eq!(inventory[0].containers, std::slice::from_ref(&state));
    let other = node.sandbox("pod-2").await;
    assert_ne!(other.ip, ip, "the address is still taken");
    node.runtime
        .stop_container(&state.id, Duration::from_secs(20))
        .await
        .expect("stop");
    assert_eq!(node.ended(&state.id).await.code, 7);
}

async fn an_exit_while_the_server_is_away_is_not_lost() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let gate = node.dir.join("gate");
    std::fs::create_dir(&gate).expect("gate");
    let mount = rota_agent::runtime::Mount {
        source: gate.clone(),
        target: "/gate".into(),
        ..Default::default()
    };
    let script = ["sh", "-c", "while [ ! -e /gate/open ]; do sleep 0.02; done; exit 5"];
    let spec = ContainerSpec {
        mounts: vec![mount],
        ..pod.spec("main", &script)
    };
    let state = pod.start(spec).await.expect("start");
    let record = node
        .dir
        .join("nodes/n1/sandboxes")
        .join(&pod.id)
        .join("containers")
        .join(&state.id)
        .join("state.json");
    let node = node.restarted_after(|| {
        std::fs::write(gate.join("open"), "").expect("open");
        while !std::fs::read_to_string(&record).expect("record").contains("exit_code") {
            std::thread::yield_now();
        }
    });
    assert_eq!(node.await.ended(&state.id).await.code, 5);
}

async fn a_sandbox_whose_shim_is_killed_is_found_dead() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let id = pod.id.clone();
    let state = pod.shell("main", "sleep 1000").await;
    let record =
        std::fs::read_to_string(node.dir.join("nodes/n1/sandboxes").join(&id).join("sandbox.json")).expect("record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let pid = record["shim"]["pid"]
        .as_i64()
        .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    rustix::process::kill_process(pid.expect("pid"), rustix::process::Signal::KILL).expect("kill");
    assert_eq!(node.ended(&state.id).await.code, 137);
    let inventory = node.runtime.inventory().await.expect("inventory");
    assert!(!inventory[0].ready);
    node.runtime.remove_sandbox(&id).await.expect("remove");
    assert!(node.runtime.inventory().await.expect("inventory").is_empty());
}

async fn a_stopped_sandbox_keeps_its_records_until_it_is_removed() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "sleep 1000").await;
    for _ in 0..2 {
        node.runtime.stop_sandbox(&pod.id).await.expect("stop");
    }
    assert_eq!(node.ended(&state.id).await.code, 137);
    let inventory = node.runtime.inventory().await.expect("inventory");
    assert!(!inventory[0].ready);
    assert!(matches!(
        inventory[0].containers[0].phase,
        ContainerPhase::Exited { .. }
    ));
    assert!(matches!(
        pod.start(pod.spec("more", &["true"])).await,
        Err(RuntimeError::Gone(_))
    ));
    let id = pod.id.clone();
    for _ in 0..2 {
        node.runtime.remove_sandbox(&id).await.expect("remove");
    }
    assert!(node.runtime.inventory().await.expect("inventory").is_empty());
    assert!(node.log_exists("main"), "logs stay");
}

async fn each_run_starts_from_the_image() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let script = "ls /mark 2>/dev/null; echo x > /mark; echo x > /etc/passwd; cat /mark";
    for name in ["one", "two"] {
        assert_eq!(pod.output_of(name, script).await, "x");
    }
}

async fn cleanup_leaves_nothing_behind() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "sleep 1000").await;
    drop(state);
    let dir = node.dir.clone();
    let tag = std::fs::read_dir("/sys/class/net").expect("links").filter_map(|link| {
        let name = link.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("rota").map(str::to_owned)
    });
    let tags: Vec<String> = tag.collect();
    cleanup(&dir).expect("cleanup");
    cleanup(&dir).expect("again");
    assert!(!dir.join("nodes/n1/sandboxes").exists());
    let left = |tag: &String| Path::new(&format!("/sys/class/net/rota{tag}")).exists();
    assert_eq!(
        tags.iter().filter(|tag| !left(tag)).count(),
        1,
        "the bridge of this node is gone"
    );
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
        .expect("cgroups")
        .filter_map(Result::ok)
    {
        for tag in tags.iter().filter(|tag| !left(tag)) {
            assert!(
                !hierarchy.path().join(format!("rota-{tag}")).exists(),
                "{:?}",
                hierarchy.path()
            );
        }
    }
}

async fn a_clean_up_leaves_no_volume_in_memory_and_says_what_it_removed() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let volumes = node.dir.join("nodes/n1/state/pod-1/volumes");
    let (memory, disk) = (volumes.join("memory"), volumes.join("disk"));
    for volume in [&memory, &disk] {
        std::fs::create_dir_all(volume).expect("directory");
    }
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &memory, "tmpfs", flags, None).expect("tmpfs");
    for volume in [&memory, &disk] {
        std::fs::write(volume.join("file"), "x").expect("file");
    }
    // A container that has it mounted does not keep it.
    let spec = ContainerSpec {
        mounts: vec![Mount {
            source: memory.clone(),
            target: "/m".into(),
            ..Mount::default()
        }],
        ..pod.spec("main", &["sleep", "1000"])
    };
    pod.start(spec).await.expect("start");
    let removed = cleanup(&node.dir).expect("clean-up");
    assert_eq!((removed.sandboxes, removed.memory_volumes), (1, 1));
    assert!(!memory.join("file").exists() && disk.join("file").exists());
    std::fs::remove_dir_all(&volumes).expect("nothing is in use");
    assert_eq!(cleanup(&node.dir).expect("again"), Removed::default());
}
