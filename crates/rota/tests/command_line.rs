//! The program as its callers see it: what it prints and how it exits, where neither root nor a cluster is needed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn rota(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rota"))
        .args(args)
        .output()
        .expect("rota")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path below the system's directory for temporary files at which nothing is.
fn nothing_at(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rota-command-line-{name}-{}", std::process::id()))
}

/// Runs a command that must fail; what it says.
fn refusal(args: &[&str]) -> String {
    let output = rota(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    said
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let above = nothing_at("start");
    let data = above.join("data");
    let data_dir = data.to_str().expect("a name");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let up = ["up", "--sim-nodes", "1", "--data-dir", data_dir, "--listen"];
    let said = refusal(&[&up[..], &[&address]].concat());
    assert!(said.contains("--listen") && said.contains(&address), "{said}");
    assert!(!above.exists(), "{said}");
    let kubeconfig = above.join("kubeconfig");
    let kubeconfig = kubeconfig.to_str().expect("a name");
    let said = refusal(&[&up[..], &["127.0.0.1:0", "--kubeconfig", kubeconfig]].concat());
    let wanted = format!("there is no directory {}\n", above.display());
    assert!(said.ends_with(&wanted), "{said}");
    assert!(!above.exists(), "{said}");
}

#[test]
fn a_directory_that_no_rota_made_is_left_alone() {
    let foreign = nothing_at("foreign");
    std::fs::create_dir_all(foreign.join("store")).expect("a directory");
    let path = foreign.to_str().expect("a name");
    for options in [&["--purge"][..], &[]] {
        let said = refusal(&[&["down", "--data-dir", path], options].concat());
        let wanted = format!("error: {path} is no data directory of rota ");
        assert!(said.starts_with(&wanted), "{said}");
        assert!(foreign.join("store").exists());
    }
    std::fs::remove_dir_all(&foreign).expect("removing it");
}

#[test]
fn what_is_no_image_archive_is_refused_and_leaves_nothing_behind() {
    let (file, images) = (nothing_at("archive"), nothing_at("images"));
    std::fs::write(&file, "hello").expect("a file");
    let file_name = file.to_str().expect("a name");
    let said = refusal(&[
        "image",
        "--data-dir",
        images.to_str().expect("a name"),
        "import",
        file_name,
    ]);
    assert!(
        said.starts_with(&format!("error: importing {file_name}: this is no image archive")),
        "{said}"
    );
    assert!(!images.exists());
    std::fs::remove_file(&file).expect("removing it");
}

#[test]
fn a_manifest_with_a_field_that_its_kind_does_not_have_is_refused() {
    let file = nothing_at("manifest");
    let manifest = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {paralelism: 2, template: {}}\n";
    std::fs::write(&file, manifest).expect("a file");
    let said = refusal(&["run", "-f", file.to_str().expect("a name")]);
    assert!(
        said.ends_with("strict decoding error: unknown field \"spec.paralelism\"\n"),
        "{said}"
    );
    std::fs::remove_file(&file).expect("removing it");
}

#[test]
fn work_goes_on_when_nobody_reads_the_log_any_more() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
        .args([
            "-vv",
            "up",
            "--ephemeral",
            "--sim-nodes",
            "1",
            "--listen",
            "127.0.0.1:0",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rota");
    drop(child.stderr.take());
    let first = first_line(&mut child);
    assert!(first.starts_with("rota is ready"), "{first:?}");
    assert_eq!(stop(&mut child), Some(0));
}

/// A cluster of one simulated node, on which nothing ever ends.
struct Cluster {
    child: Child,
    kubeconfig: String,
}

impl Cluster {
    fn start() -> Self {
        let args = "up --ephemeral --json --sim-nodes 1 --sim-run-ms 3600000 --listen 127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
            .args(args.split(' '))
            .stdout(Stdio::piped())
            .spawn()
            .expect("rota");
        let ready: serde_json::Value = serde_json::from_str(&first_line(&mut child)).expect("JSON");
        let kubeconfig = ready["kubeconfig"].as_str().expect("a path").to_owned();
        Self { child, kubeconfig }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Reads one line of a program's output, then goes away.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    line
}

/// Asks a program to stop; its exit status.
fn stop(child: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(child), Signal::TERM).expect("stopping it");
    child.wait().expect("rota").code()
}

#[test]
fn a_run_whose_output_nobody_reads_any_more_ends_and_removes_what_it_made() {
    let cluster = Cluster::start();
    let run = [
        "run",
        "--json",
        "--kubeconfig",
        &cluster.kubeconfig,
        "--image",
        "i",
        "--name",
        "endless",
    ];
    // The second finds the name free again.
    for _ in 0..2 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
            .args(run)
            .args(["--", "true"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("rota");
        let line = first_line(&mut child);
        assert!(line.starts_with('{'), "{line:?}");
        assert_eq!(child.wait().expect("rota").code(), Some(141));
    }
}

#[test]
fn a_cluster_that_is_stopped_while_it_starts_leaves_nothing_behind() {
    let home = nothing_at("stopped");
    std::fs::create_dir(&home).expect("a directory");
    let data = home.join("data");
    let data_dir = data.to_str().expect("a name");
    for place in [&["--ephemeral"][..], &["--data-dir", data_dir]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
            .args(["up", "--sim-nodes", "1", "--listen", "127.0.0.1:0"])
            .args(place)
            .env("TMPDIR", &home)
            .stdout(Stdio::piped())
            .spawn()
            .expect("rota");
        let is_empty = || std::fs::read_dir(&home).expect("the directory").next().is_none();
        while is_empty() {
            assert_eq!(child.try_wait().expect("rota"), None, "it has not begun yet");
            std::thread::yield_now();
        }
        assert_eq!(stop(&mut child), Some(0));
        // What was ready before it was stopped is kept.
        let was_ready = !first_line(&mut child).is_empty();
        assert!(is_empty() || was_ready && data.exists(), "{place:?}");
    }
    std::fs::remove_dir_all(&home).expect("removing it");
}

#[test]
fn keys_of_a_cluster_that_are_lost_are_not_replaced_unasked_and_its_kubeconfig_stays_as_long_as_it_is_good() {
    let data = nothing_at("keys");
    let data_dir = data.to_str().expect("a name");
    // The same at each start, as the kubeconfig says it. Somebody else may take it meanwhile: then this says so.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port").to_string();
    let up = ["up", "--sim-nodes", "1", "--data-dir", data_dir, "--listen", &address];
    let kubeconfig_after = |options: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
            .args(up)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("rota");
        let first = first_line(&mut child);
        assert!(first.starts_with("rota is ready"), "{first:?}");
        assert_eq!(stop(&mut child), Some(0));
        std::fs::read_to_string(data.join("kubeconfig")).expect("a kubeconfig")
    };
    let first = kubeconfig_after(&[]);
    assert!(kubeconfig_after(&[]) == first, "it was good");
    std::fs::remove_dir_all(data.join("pki")).expect("losing the keys");
    for _ in 0..2 {
        let said = refusal(&up);
        let wanted = format!("error: {data_dir}/pki/ca.key and {data_dir}/pki/sa.key are missing, and the objects");
        assert!(said.starts_with(&wanted), "{said}");
    }
    assert!(kubeconfig_after(&["--new-keys"]) != first, "it is for other keys");
    std::fs::remove_dir_all(&data).expect("removing it");
}

#[test]
fn cron_next_prints_one_instant_a_line_in_the_zone_asked_for() {
    let args = "cron next --tz Europe/Berlin --from 2026-03-27T00:00:00Z -n 3".split(' ');
    let args: Vec<&str> = args.chain(["0 9 * * 1-5"]).collect();
    assert_eq!(
        text(&rota(&args).stdout),
        "2026-03-27T09:00:00+01:00\n2026-03-30T09:00:00+02:00\n2026-03-31T09:00:00+02:00\n"
    );
}

#[test]
fn cron_next_answers_each_line_of_questions_with_a_line() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
        .args(["cron", "next", "--jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rota");
    let questions = concat!(
        r#"{"id":"a","schedule":"0 3 * * *","tz":"Asia/Seoul","start":"2026-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"id":"b","schedule":"61 * * * *","tz":"","start":"2026-01-01T00:00:00Z"}"#,
        "\n",
    );
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(questions.as_bytes())
        .expect("asking");
    let answers = text(&child.wait_with_output().expect("answers").stdout);
    let answers: Vec<serde_json::Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        (answers.len(), &answers[0]["id"], &answers[1]["id"]),
        (2, &"a".into(), &"b".into())
    );
    // 03:00 in Seoul is 18:00 of the day before in London.
    assert_eq!(answers[0]["next_unix"][0], 1_767_290_400);
    assert!(answers[1]["parse_error"].is_string(), "{answers:?}");
}

#[test]
fn a_wrong_schedule_is_a_failure_that_says_what_is_wrong() {
    let output = rota(&["cron", "next", "61 * * * *"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_option_is_a_usage_error() {
    assert_eq!(rota(&["up", "--no-such-option"]).status.code(), Some(2));
}

#[test]
fn cron_explain_reads_a_schedule_lists_its_runs_and_warns() {
    let args = "cron explain --tz Europe/Berlin --from 2026-03-28T00:00:00Z -n 2".split(' ');
    let args: Vec<&str> = args.chain(["30 2 * * *"]).collect();
    assert_eq!(
        text(&rota(&args).stdout),
        "At 02:30 every day (Europe/Berlin).\n\n\
         Next runs:\n  2026-03-28T02:30:00+01:00\n  2026-03-30T02:30:00+02:00\n\n\
         Mind:\n  Clocks in Europe/Berlin go forward over 02:30 on 2026-03-29, which is skipped.\n  \
         Clocks in Europe/Berlin go back over 02:30 on 2026-10-25, which is run twice.\n"
    );
    let korean = rota(&[
        "cron",
        "explain",
        "--lang",
        "ko",
        "--from",
        "2026-03-28T00:00:00Z",
        "-n",
        "1",
        "0 3 * * 1-5",
    ]);
    assert_eq!(
        text(&korean.stdout),
        "평일(월요일~금요일) 03:00에 실행합니다 (시간대: UTC).\n\n다음 실행:\n  2026-03-30T03:00:00+00:00\n"
    );
    let wrong = rota(&["cron", "explain", "0 0 * * 7"]);
    assert!(
        text(&wrong.stderr).ends_with("(Sunday is 0, not 7)\n"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn cron_preview_tells_what_a_manifest_would_run_where_there_is_no_cluster() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rota"))
        .args(["cron", "preview", "-f", "-", "--json", "--days", "1"])
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rota");
    let manifest = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  schedule: '0 * * * *'\n  jobTemplate: {spec: {template: {}}}\n";
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(manifest.as_bytes()).expect("asking");
    drop(input);
    let answer = text(&child.wait_with_output().expect("an answer").stdout);
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["caused"].as_array().map(Vec::len), Some(24), "{answer}");
    assert_eq!((&answer["kept"], &answer["exists"]), (&0.into(), &false.into()));
}
