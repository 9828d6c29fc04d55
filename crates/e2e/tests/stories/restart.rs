//! `rota up` is killed and started again: nobody's containers notice.

use std::collections::BTreeMap;

use rota_e2e::{Cluster, Image};
use serde_json::Value;

/// Twenty at once of twenty-four; each container takes twelve seconds.
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: many}
spec:
  completions: 24
  parallelism: 20
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: busybox, command: [sleep, "12"]}
"#;

/// Container and restarts of each pod that has a container.
fn containers(cluster: &Cluster) -> BTreeMap<String, (Value, Value)> {
    let pods = cluster.json(&["get", "pods"]);
    let entry = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        let name = pod["metadata"]["name"].as_str()?.to_owned();
        status["containerID"].as_str()?;
        Some((name, (status["containerID"].clone(), status["restartCount"].clone())))
    };
    pods["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(entry)
        .collect()
}

#[test]
fn a_killed_rota_finds_its_twenty_containers_again_and_counts_right() {
    let mut cluster = Cluster::start(&["--nodes", "2"], &[Image::Busybox]);
    cluster.apply_text("many", JOB);
    cluster.until("twenty running pods", &["get", "pods", "--no-headers"], |pods| {
        pods.matches("Running").count() == 20
    });
    let before = containers(&cluster);
    cluster.kill();
    cluster.start_again();
    let succeeded = [
        "get",
        "job",
        "many",
        "-o",
        "jsonpath={.status.succeeded} {.status.failed}",
    ];
    cluster.until("24 successes", &succeeded, |text| text.trim() == "24");
    let after = containers(&cluster);
    assert_eq!(after.len(), 24, "no pod too many and none lost");
    for (pod, container) in before {
        assert_eq!(
            after.get(&pod),
            Some(&container),
            "{pod}: same container, not restarted"
        );
    }
}

#[test]
fn a_node_of_another_name_does_not_get_the_addresses_of_the_nodes_before() {
    let mut cluster = Cluster::start(&["--nodes", "2"], &[]);
    cluster.start_again_with(&["--nodes", "1"]);
    let ranges = "jsonpath={range .items[*]}{.spec.podCIDR}{\"\\n\"}{end}";
    let ranges = cluster.run(&["get", "nodes", "-o", ranges]);
    let different: std::collections::BTreeSet<&str> = ranges.lines().collect();
    assert_eq!((ranges.lines().count(), different.len()), (3, 3), "{ranges}");
}

/// Runs until it is stopped, with a volume in memory.
const IN_MEMORY: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: memory}
spec:
  volumes:
  - {name: v, emptyDir: {medium: Memory}}
  containers:
  - {name: main, image: busybox, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
"#;

#[test]
fn a_cluster_that_is_taken_down_leaves_no_volume_in_memory_mounted() {
    let cluster = Cluster::start(&[], &[Image::Busybox]);
    cluster.apply_text("memory", IN_MEMORY);
    cluster.until("a running pod", &["get", "pod", "memory", "--no-headers"], |pod| {
        pod.contains("Running")
    });
    let data = cluster.data_dir();
    let is_mounted = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("what is mounted");
        mounts.contains(&data)
    };
    assert!(is_mounted());
    // Stops it, takes it down with --purge, and fails where that does.
    drop(cluster);
    assert!(!is_mounted());
}
