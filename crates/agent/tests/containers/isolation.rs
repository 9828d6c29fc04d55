//! What a container may see, use and do.

use rota_agent::runtime::{ContainerSpec, Mount, Resources, RuntimeError, SandboxSpec, Security};

use crate::fixture::{Ended, Node, Pod, sandbox_spec, tests};

tests![
    a_container_has_its_own_processes_and_the_pods_name,
    containers_of_a_pod_share_network_and_memory,
    a_pod_can_share_its_processes,
    a_container_can_share_the_processes_of_another,
    the_nodes_processes_are_seen_when_asked_for,
    memory_beyond_the_limit_kills_the_container,
    users_come_from_the_image_and_the_pod,
    capabilities_follow_the_security_context,
    a_privileged_container_has_the_nodes_devices,
    a_read_only_root_refuses_writes,
    volumes_are_mounted_with_their_access,
    the_working_directory_is_made,
    the_hosts_programs_are_an_image,
];

async fn secure(pod: &Pod<'_>, name: &str, security: Security, script: &str) -> ContainerSpec {
    ContainerSpec {
        security,
        ..pod.spec(name, &["sh", "-c", script])
    }
}

async fn a_container_has_its_own_processes_and_the_pods_name() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let output = pod
        .output_of("main", "echo $$ $(hostname) $(ls /proc | grep -c '^[0-9]')")
        .await;
    let words: Vec<&str> = output.split(' ').collect();
    assert_eq!(&words[..2], ["1", "pod-1"]);
    assert!(words[2].parse::<u32>().expect("count") < 6, "{output}");
}

async fn containers_of_a_pod_share_network_and_memory() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let show = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
    assert_eq!(pod.output_of("one", show).await, pod.output_of("two", show).await);
    pod.output_of("writer", "echo shared > /dev/shm/x").await;
    assert_eq!(pod.output_of("reader", "cat /dev/shm/x").await, "shared");
    pod.shell("sleeper", "exec sleep 4141").await;
    let seen = pod
        .output_of("watcher", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
        .await;
    assert!(!seen.contains("sleep 4141"), "{seen}");
}

async fn a_pod_can_share_its_processes() {
    let node = Node::new().await;
    let pod = node
        .sandbox_with(SandboxSpec {
            share_process_namespace: true,
            ..sandbox_spec("pod-1")
        })
        .await;
    let sleeper = pod.shell("sleeper", "exec sleep 4242").await;
    let seen = pod
        .output_of("watcher", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
        .await;
    assert!(seen.contains("sleep 4242"), "{seen}");
    node.runtime_stop(&sleeper.id).await;
}

async fn a_container_can_share_the_processes_of_another() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let target = pod.shell("target", "exec sleep 4242").await;
    pod.shell("other", "exec sleep 4343").await;
    let looker = |name: &str, target: &str, script: &str| ContainerSpec {
        target: target.to_owned(),
        ..pod.spec(name, &["sh", "-c", script])
    };
    let list = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '";
    let looked = pod.start(looker("looker", "target", list)).await.expect("start");
    assert_eq!(node.ended(&looked.id).await.code, 0);
    let seen = node.log("looker");
    assert!(seen.contains("sleep 4242") && !seen.contains("sleep 4343"), "{seen}");
    // Its end is not the target's, but the target's end is its own.
    let stays = pod
        .start(looker("stays", "target", "exec sleep 1000"))
        .await
        .expect("start");
    node.runtime_stop(&target.id).await;
    assert_eq!(node.ended(&stays.id).await.code, 137);
    let refused = pod
        .start(looker("late", "target", "true"))
        .await
        .expect_err("it has ended");
    let words = "joining the processes of container \"target\": it is not running";
    assert!(refused.to_string().ends_with(words), "{refused}");
}

async fn the_nodes_processes_are_seen_when_asked_for() {
    let node = Node::new().await;
    let pod = node
        .sandbox_with(SandboxSpec {
            host_pid: true,
            ..sandbox_spec("pod-1")
        })
        .await;
    let seen = pod.output_of("main", "ls -d /proc/[0-9]* 2>/dev/null | wc -l").await;
    assert!(seen.parse::<u32>().expect("count") > 10, "{seen}");
    let background = pod.shell("leaver", "sleep 4343 & exit 0").await;
    assert_eq!(node.ended(&background.id).await.code, 0);
    let left = pod
        .output_of("after", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
        .await;
    assert!(
        !left.contains("sleep 4343"),
        "what a container leaves behind ends with it: {left}"
    );
}

async fn memory_beyond_the_limit_kills_the_container() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let resources = Resources {
        memory_limit_bytes: Some(16 << 20),
        ..Resources::default()
    };
    let hungry = ["sh", "-c", "exec tail /dev/zero"];
    let state = pod
        .start(ContainerSpec {
            resources,
            ..pod.spec("main", &hungry)
        })
        .await
        .expect("start");
    assert_eq!(
        node.ended(&state.id).await,
        Ended {
            code: 137,
            oom_killed: true
        }
    );
}

async fn users_come_from_the_image_and_the_pod() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let as_user = Security {
        run_as_user: Some(33),
        supplemental_groups: vec![7],
        ..Security::default()
    };
    let spec = secure(&pod, "one", as_user, "id -u; id -g; id -G; echo $HOME").await;
    let state = pod.start(spec).await.expect("start");
    assert_eq!(node.ended(&state.id).await.code, 0);
    assert_eq!(node.log("one"), "33\n33\n33 7\n/var/www");
    let no_root = Security {
        run_as_non_root: true,
        ..Security::default()
    };
    let spec = secure(&pod, "two", no_root, "id").await;
    assert!(matches!(pod.start(spec).await, Err(RuntimeError::Start(m)) if m.contains("runAsNonRoot")));
}

async fn capabilities_follow_the_security_context() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    for (name, security, expected) in [
        ("plain", Security::default(), 0xa804_25fb_u64),
        (
            "none",
            Security {
                capabilities_drop: names(&["ALL"]),
                ..Security::default()
            },
            0,
        ),
        (
            "one",
            Security {
                capabilities_drop: names(&["ALL"]),
                capabilities_add: names(&["NET_ADMIN"]),
                ..Security::default()
            },
            1 << 12,
        ),
    ] {
        let spec = secure(
            &pod,
            name,
            security,
            "grep CapEff /proc/self/status | cut -f2; grep NoNewPrivs /proc/self/status | cut -f2",
        )
        .await;
        let state = pod.start(spec).await.expect("start");
        assert_eq!(node.ended(&state.id).await.code, 0);
        assert_eq!(node.log(name), format!("{expected:016x}\n0"));
    }
    let locked = Security {
        no_new_privileges: true,
        ..Security::default()
    };
    let state = pod
        .start(secure(&pod, "locked", locked, "grep NoNewPrivs /proc/self/status | cut -f2").await)
        .await
        .expect("start");
    node.ended(&state.id).await;
    assert_eq!(node.log("locked"), "1");
}

async fn a_privileged_container_has_the_nodes_devices() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let script = "ls /dev | sort | tr '\\n' ' '; mkdir /m && mount -t tmpfs none /m && echo mounted";
    let state = pod
        .start(
            secure(
                &pod,
                "big",
                Security {
                    privileged: true,
                    ..Security::default()
                },
                script,
            )
            .await,
        )
        .await
        .expect("start");
    node.ended(&state.id).await;
    let log = node.log("big");
    assert!(log.contains("mounted") && log.contains("kmsg"), "{log}");
    let state = pod
        .shell("small", "mkdir /m; mount -t tmpfs none /m || echo refused; ls /dev")
        .await;
    node.ended(&state.id).await;
    let log = node.log("small");
    assert!(log.contains("refused") && !log.contains("kmsg"), "{log}");
}

async fn a_read_only_root_refuses_writes() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let security = Security {
        read_only_root: true,
        ..Security::default()
    };
    let spec = secure(
        &pod,
        "main",
        security,
        "touch /x || echo refused; echo y > /dev/shm/y && echo memory",
    )
    .await;
    let state = pod.start(spec).await.expect("start");
    node.ended(&state.id).await;
    let log = node.log("main");
    assert!(log.contains("refused") && log.contains("memory"), "{log}");
}

async fn volumes_are_mounted_with_their_access() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let volume = node.dir.join("volume");
    std::fs::create_dir(&volume).expect("volume");
    std::fs::write(volume.join("in"), "from the node").expect("write");
    let mount = |target: &str, read_only| Mount {
        source: volume.clone(),
        target: target.into(),
        read_only,
        ..Mount::default()
    };
    let script = "cat /rw/in; echo back > /rw/out; touch /ro/x || echo refused";
    let mounts = vec![mount("/rw", false), mount("/ro", true)];
    let spec = ContainerSpec {
        mounts,
        ..pod.spec("main", &["sh", "-c", script])
    };
    let state = pod.start(spec).await.expect("start");
    node.ended(&state.id).await;
    let log = node.log("main");
    assert!(log.contains("from the node") && log.contains("refused"), "{log}");
    assert_eq!(std::fs::read_to_string(volume.join("out")).expect("out"), "back\n");
}

async fn the_working_directory_is_made() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let spec = ContainerSpec {
        working_dir: "/not/there/yet".to_owned(),
        ..pod.spec("main", &["pwd"])
    };
    let state = pod.start(spec).await.expect("start");
    assert_eq!(node.ended(&state.id).await.code, 0);
    assert_eq!(node.log("main"), "/not/there/yet");
}

async fn the_hosts_programs_are_an_image() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let script = "test -x /usr/bin/env && touch /usr/rota-mark /etc/rota-mark /tmp/x && ! cat /etc/shadow && ls /";
    let spec = ContainerSpec {
        image: "rota.dev/host".to_owned(),
        ..pod.spec("main", &["/bin/sh", "-c", script])
    };
    let state = pod.start(spec).await.expect("start");
    assert_eq!(node.ended(&state.id).await.code, 0, "{}", node.log("main"));
    assert!(!std::path::Path::new("/usr/rota-mark").exists());
    assert!(!std::path::Path::new("/etc/rota-mark").exists());
}
