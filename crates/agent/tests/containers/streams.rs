//! Processes started in running containers, and their streams.

use rota_agent::runtime::{ContainerSpec, ExecSpec, Runtime, RuntimeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Node, PATIENCE, collect, tests};

tests![
    a_process_is_started_in_a_running_container,
    a_process_reads_what_it_is_sent,
    a_process_that_reads_late_gets_all_the_same_what_it_is_sent,
    a_process_that_was_left_ends_when_it_speaks,
    a_process_can_have_a_terminal,
    a_process_that_cannot_start_says_why,
    a_container_ends_however_often_a_process_could_not_be_started_in_it,
    a_process_that_is_to_end_when_left_leaves_nothing_behind,
    a_container_is_attached_to,
    input_ends_with_the_first_client_only_where_it_is_to,
    input_does_not_end_with_who_only_looks_on,
];

fn exec(args: &[&str]) -> ExecSpec {
    ExecSpec {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..ExecSpec::default()
    }
}

async fn a_process_is_started_in_a_running_container() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let env = vec![("COLOR".to_owned(), "blue".to_owned())];
    let spec = ContainerSpec {
        env,
        ..pod.spec("main", &["sh", "-c", "echo here > /mark; exec sleep 1000"])
    };
    let state = pod.start(spec).await.expect("start");
    let script = "cat /mark; echo $COLOR $(hostname); echo wrong >&2; exit 4";
    let streams = node
        .runtime
        .exec(&state.id, &exec(&["sh", "-c", script]))
        .await
        .expect("exec");
    assert_eq!(
        collect(streams).await,
        ("here\nblue pod-1\n".to_owned(), "wrong\n".to_owned(), 4)
    );
}

/// How many processes of a container run a command line with this word in it.
async fn count(node: &Node, container: &str, word: &str) -> usize {
    // A pattern that does not match itself, so that whoever looks is not counted.
    let (head, tail) = word.split_at(1);
    let script = format!("grep -l '[{head}]{tail}' /proc/[0-9]*/cmdline 2>/dev/null | wc -l");
    let streams = node
        .runtime
        .exec(container, &exec(&["sh", "-c", &script]))
        .await
        .expect("exec");
    let (out, _, _) = collect(streams).await;
    out.trim().parse().expect("a number")
}

async fn a_container_ends_however_often_a_process_could_not_be_started_in_it() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    for _ in 0..40 {
        let started = node.runtime.exec(&state.id, &exec(&["no-such-command"])).await;
        assert!(matches!(started, Err(RuntimeError::Start(_))));
    }
    let stop = node.runtime.stop_container(&state.id, std::time::Duration::ZERO);
    tokio::time::timeout(PATIENCE, stop)
        .await
        .expect("it ends")
        .expect("stop");
    assert_eq!(node.ended(&state.id).await.code, 137);
}

async fn a_process_that_is_to_end_when_left_leaves_nothing_behind() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let script = "sleep 4321 & echo up; wait";
    let leave = async |kill_when_left: bool| {
        let spec = ExecSpec {
            kill_when_left,
            ..exec(&["sh", "-c", script])
        };
        let mut streams = node.runtime.exec(&state.id, &spec).await.expect("exec");
        let mut up = [0; 3];
        let stdout = streams.stdout.as_mut().expect("stdout");
        stdout.read_exact(&mut up).await.expect("a word");
        // The shell and what it started.
        assert_eq!(count(&node, &state.id, "4321").await, 2);
    };
    for _ in 0..3 {
        leave(true).await;
        let gone = async { while count(&node, &state.id, "4321").await > 0 {} };
        tokio::time::timeout(PATIENCE, gone).await.expect("they are killed");
    }
    leave(false).await;
    assert_eq!(count(&node, &state.id, "4321").await, 2, "a user's command goes on");
}

async fn a_process_reads_what_it_is_sent() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let spec = ExecSpec {
        stdin: true,
        ..exec(&["wc", "-c"])
    };
    let mut streams = node.runtime.exec(&state.id, &spec).await.expect("exec");
    let mut stdin = streams.stdin.take().expect("stdin");
    let data = vec![b'x'; 1 << 20];
    stdin.write_all(&data).await.expect("write");
    stdin.shutdown().await.expect("close");
    drop(stdin);
    let (out, _, code) = collect(streams).await;
    assert_eq!((out.trim(), code), ("1048576", 0));
}

async fn a_process_that_reads_late_gets_all_the_same_what_it_is_sent() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let script = "until [ -e /go ]; do sleep 0.02; done; wc -c";
    let spec = ExecSpec {
        stdin: true,
        ..exec(&["sh", "-c", script])
    };
    let mut streams = node.runtime.exec(&state.id, &spec).await.expect("exec");
    let mut stdin = streams.stdin.take().expect("stdin");
    let send = async {
        stdin.write_all(&vec![b'x'; 24 << 20]).await.expect("write");
        stdin.shutdown().await.expect("close");
    };
    let go = async {
        let streams = node.runtime.exec(&state.id, &exec(&["touch", "/go"])).await;
        collect(streams.expect("exec")).await
    };
    tokio::join!(send, go);
    let (out, _, code) = collect(streams).await;
    assert_eq!((out.trim(), code), ("25165824", 0));
}

async fn a_process_that_was_left_ends_when_it_speaks() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let streams = node.runtime.exec(&state.id, &exec(&["yes", "8765"])).await;
    let mut streams = streams.expect("exec");
    let mut word = [0; 5];
    let stdout = streams.stdout.as_mut().expect("stdout");
    stdout.read_exact(&mut word).await.expect("a word");
    drop(streams);
    let gone = async { while count(&node, &state.id, "8765").await > 0 {} };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("nobody listens to it");
}

async fn a_process_can_have_a_terminal() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    let spec = ExecSpec {
        tty: true,
        stdin: true,
        // The size comes on a way of its own, so that input may be there first.
        ..exec(&[
            "sh",
            "-c",
            "until [ \"$(stty size)\" = '43 132' ]; do sleep 0.02; done; read go; tty; exit 9",
        ])
    };
    let mut streams = node.runtime.exec(&state.id, &spec).await.expect("exec");
    assert!(streams.stderr.is_none());
    streams
        .resize
        .as_ref()
        .expect("resize")
        .send((132, 43))
        .await
        .expect("send");
    let mut stdin = streams.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").await.expect("write");
    let mut stdout = streams.stdout.take().expect("stdout");
    let mut out = String::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut out))
        .await
        .expect("in time")
        .expect("read");
    assert!(out.contains("/dev/pts/"), "{out}");
    assert_eq!(streams.exit.await, Ok(9));
}

async fn a_process_that_cannot_start_says_why() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let state = pod.shell("main", "exec sleep 1000").await;
    match node.runtime.exec(&state.id, &exec(&["nothing"])).await {
        Err(RuntimeError::Start(message)) => {
            assert_eq!(message, r#"exec: "nothing": executable file not found in $PATH"#);
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it started"),
    }
}

async fn a_container_is_attached_to() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let spec = ContainerSpec {
        stdin: true,
        ..pod.spec("main", &["sh", "-c", "read line; echo got $line; exit 6"])
    };
    let state = pod.start(spec).await.expect("start");
    let mut streams = node.runtime.attach(&state.id, true).await.expect("attach");
    streams
        .stdin
        .as_mut()
        .expect("stdin")
        .write_all(b"this\n")
        .await
        .expect("write");
    let mut stdout = streams.stdout.take().expect("stdout");
    let mut out = String::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut out))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!((out.as_str(), streams.exit.await), ("got this\n", Ok(6)));
    assert_eq!(node.ended(&state.id).await.code, 6);
    assert_eq!(node.log("main"), "got this");
}

async fn input_ends_with_the_first_client_only_where_it_is_to() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let spec = |name: &str, stdin_once: bool| ContainerSpec {
        stdin: true,
        stdin_once,
        ..pod.spec(
            name,
            &[
                "sh",
                "-c",
                "while read line; do echo got $line; [ $line = last ] && exit 6; done; exit 7",
            ],
        )
    };
    let attach_and_say = async |id: &str, line: &[u8]| {
        let mut streams = node.runtime.attach(id, true).await.expect("attach");
        let mut stdin = streams.stdin.take().expect("stdin");
        stdin.write_all(line).await.expect("write");
        // Whoever hears the answer knows that the line was taken in.
        let mut stdout = streams.stdout.take().expect("stdout");
        let mut answer = vec![0; b"got ".len() + line.len()];
        let read = tokio::time::timeout(PATIENCE, stdout.read_exact(&mut answer)).await;
        read.expect("in time").expect("read");
        assert_eq!(answer, [b"got ", line].concat());
        stdin.shutdown().await.expect("shutdown");
        streams
    };
    let staying = pod.start(spec("staying", false)).await.expect("start");
    // Nobody hears more of it, though it goes on.
    let left = attach_and_say(&staying.id, b"first\n").await;
    assert_eq!(tokio::time::timeout(PATIENCE, left.exit).await.expect("in time"), Ok(0));
    attach_and_say(&staying.id, b"last\n").await;
    assert_eq!(node.ended(&staying.id).await.code, 6);
    let once = pod.start(spec("once", true)).await.expect("start");
    let ended = attach_and_say(&once.id, b"first\n").await;
    assert_eq!(
        tokio::time::timeout(PATIENCE, ended.exit).await.expect("in time"),
        Ok(7)
    );
    assert_eq!(node.ended(&once.id).await.code, 7);
}

async fn input_does_not_end_with_who_only_looks_on() {
    let node = Node::new().await;
    let pod = node.sandbox("pod-1").await;
    let spec = ContainerSpec {
        stdin: true,
        stdin_once: true,
        ..pod.spec("main", &["sh", "-c", "echo up; read line; echo got $line; exit 6"])
    };
    let state = pod.start(spec).await.expect("start");
    let onlooker = node.runtime.attach(&state.id, false).await.expect("attach");
    assert!(onlooker.stdin.is_none());
    drop(onlooker);
    let mut streams = node.runtime.attach(&state.id, true).await.expect("attach");
    let mut stdin = streams.stdin.take().expect("stdin");
    stdin.write_all(b"this\n").await.expect("write");
    assert_eq!(node.ended(&state.id).await.code, 6);
    assert_eq!(node.log("main"), "up\ngot this");
}
