//! The program as its callers see it: what it prints and how it exits, where neither root nor a cluster is needed.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn rota(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rota"))
        .args(args)
        .output()
        .expect("rota")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
