//! A machine that joins with the cluster's token: its containers are reached through the API server, and it is nobody else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use rota_e2e::{Cluster, Image};

const POD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting}
data: {word: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "echo $WORD; echo oops >&2; while :; do echo far | busybox nc -l -p 8080; done"]
    env:
    - {name: WORD, valueFrom: {configMapKeyRef: {name: greeting, key: word}}}
"#;

#[test]
fn containers_of_a_joined_node_are_reached_through_the_server() {
    let mut cluster = Cluster::start(&["--no-nodes"], &[]);
    let _joined = cluster.join_with_token("away", "10.244.204.0/24", &[Image::Busybox]);
    cluster.apply_text("far", POD);
    cluster.run(&["wait", "--for=condition=Ready", "pod/far", "--timeout=90s"]);
    let log = cluster.until("its output", &["logs", "far"], |text| text.contains("oops"));
    assert!(log.contains("hello\n"), "{log}");
    assert_eq!(cluster.run(&["logs", "far", "--tail=1"]).lines().count(), 1);
    assert_eq!(cluster.run(&["exec", "far", "--", "echo", "a b"]), "a b\n");
    let failed = cluster.fails(&["exec", "far", "--", "sh", "-c", "exit 7"]);
    assert!(failed.contains("exit code 7"), "{failed}");
    let mut cat = cluster
        .command(&["exec", "-i", "far", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut stdin = cat.stdin.take().expect("its input");
    stdin.write_all(b"through\n").expect("its input is open");
    drop(stdin);
    let mut heard = String::new();
    cat.stdout
        .take()
        .expect("its output")
        .read_to_string(&mut heard)
        .expect("text");
    assert_eq!(
        (heard.as_str(), cat.wait().expect("an end").success()),
        ("through\n", true)
    );

    let mut forward = cluster
        .command(&["port-forward", "pod/far", ":8080"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut said = String::new();
    // Kept until the end: kubectl goes on talking.
    let mut output = BufReader::new(forward.stdout.take().expect("its output"));
    output.read_line(&mut said).expect("a line");
    let port: u16 = said
        .split([':', ' '])
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no port in {said:?}"));
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("text");
    assert_eq!(answer, "far\n");
    forward.kill().expect("it runs");
    forward.wait().expect("an end");
}

#[test]
fn a_joined_node_sees_what_its_pods_need_and_nothing_else() {
    let mut cluster = Cluster::start(&["--no-nodes"], &[]);
    let _joined = cluster.join_with_token("away", "10.244.205.0/24", &[Image::Busybox]);
    cluster.apply_text("far", POD);
    cluster.run(&["wait", "--for=condition=Ready", "pod/far", "--timeout=90s"]);
    let node = cluster.kubectl_of("away");
    assert_eq!(
        node.run(&["get", "configmap", "greeting", "-o", "jsonpath={.data.word}"]),
        "hello"
    );
    let refused = node.fails(&["get", "secret", "hidden"]);
    assert!(
        refused.contains(
            "secrets \"hidden\" is forbidden: User \"system:node:away\" cannot get resource \"secrets\" in API group \"\" in \
             the namespace \"default\": no relationship found between node 'away' and this object"
        ),
        "{refused}"
    );
    let refused = node.fails(&["label", "node", "away", "node-role.kubernetes.io/master="]);
    assert!(
        refused.contains("is not allowed to modify labels: node-role.kubernetes.io/master"),
        "{refused}"
    );
    let refused = node.fails(&["get", "pods", "--all-namespaces"]);
    assert!(
        refused.contains("can only list/watch pods with spec.nodeName field selector"),
        "{refused}"
    );
    let token = node.fails(&["create", "token", "default"]);
    assert!(token.contains("node requested token not bound to a pod"), "{token}");
}
