//! What of a text may differ from run to run is replaced by what it is: times, ages, uids, generated names, ports.
//!
//! Columns are two blanks apart afterwards: their width depends on what is in them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A kind of text, and what stands for it. What its first group matched is kept before, what its second matched after.
struct Rule(Regex, &'static str);

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rules = [
        (
            r"()\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)()",
            "<time>",
        ),
        (
            r"()\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}()",
            "<time>",
        ),
        (
            r"()\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b()",
            "<uid>",
        ),
        // What a server appends to a generated name.
        (r"([a-z0-9]-)[bcdfghjklmnpqrstvwxz2456789]{5}\b()", "<x>"),
        (r#"(resourceVersion"?: ")\d+(")"#, "<n>"),
        (r"(Resource Version: +)\d+()", "<n>"),
        // Addresses that are handed out.
        (r"()\b(?:10\.\d+|100\.64)(?:\.\d+){2}\b()", "<ip>"),
        (r"(Handling connection for )\d+()", "<port>"),
        // What a runtime makes of a container and an image.
        (r"((?:rota://|sha256:))[0-9a-f]{64}()", "<id>"),
        (r"( in )[\d.]+m?s \([\d.]+m?s( including waiting)", "<time> (<time>"),
        (r"(Image size: )\d+()", "<n>"),
        // Templates that hold a time have another name in each run.
        (r"(controller-revision-hash[:=] *)[a-z0-9]+()", "<hash>"),
        (r"(X509SHA256=)[0-9a-f]{64}()", "<digest>"),
        (r"()\b(?:127\.0\.0\.1|localhost):\d{4,5}\b()", "<server>"),
        // Ages stand in a column of their own or in brackets; a quantity has a name with a colon before it, or a share after.
        (r"(^|[^:\s] {2,}|\()(?:\d+[smhdy]){1,2}( {2}|\)| ago|$| \(x)", "<age>"),
        (r"(Duration: +|\bx\d+ over )(?:\d+[smhd]){1,2}()", "<age>"),
    ];
    let compile = |(pattern, name)| Rule(Regex::new(pattern).expect("patterns are fixed"), name);
    rules.into_iter().map(compile).collect()
});

/// The text with its changing parts replaced.
pub(crate) fn normal(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut line = line.trim_end().replace('\t', "  ");
        for Rule(pattern, name) in RULES.iter() {
            // Twice, as what ends one may begin the next.
            for _ in 0..2 {
                line = pattern
                    .replace_all(&line, |found: &Captures<'_>| {
                        format!("{}{name}{}", &found[1], &found[2])
                    })
                    .into_owned();
            }
        }
        columns(&line)
    });
    lines.collect::<Vec<String>>().join("\n").trim_end().to_owned()
}

/// The line with its columns two blanks apart; what it begins with is kept.
fn columns(line: &str) -> String {
    let rest = line.trim_start_matches(' ');
    let mut text = line[..line.len() - rest.len()].to_owned();
    let mut blanks: usize = 0;
    for letter in rest.chars() {
        if letter == ' ' {
            blanks += 1;
            continue;
        }
        text.push_str(&"  "[..blanks.min(2)]);
        blanks = 0;
        text.push(letter);
    }
    text
}

#[test]
fn times_ages_and_generated_names_are_replaced() {
    let cases = [
        (
            "job-x7k2p   1/1     Running   0          12s",
            "job-<x>  1/1  Running  0  <age>",
        ),
        (
            "  creationTimestamp: \"2026-01-02T03:04:05Z\"",
            "  creationTimestamp: \"<time>\"",
        ),
        ("57s    Normal   Done", "<age>  Normal  Done"),
        ("Start Time:   Mon, 02 Jan 2006 15:04:05 +0000", "Start Time:  <time>"),
        ("uid: 0f6d3c1e-1111-2222-3333-444455556666", "uid: <uid>"),
        ("  resourceVersion: \"12\"", "  resourceVersion: \"<n>\""),
        (
            "Normal  Pulled  3m20s (x3 over 4m)  rota",
            "Normal  Pulled  <age> (x3 over <age>)  rota",
        ),
        ("hello   Complete   1/1   3s   3m", "hello  Complete  1/1  <age>  <age>"),
        ("Restarts: 1 (3s ago)", "Restarts: 1 (<age> ago)"),
        ("Duration:   3s", "Duration:  <age>"),
        ("kube-proxy  front-end", "kube-proxy  front-end"),
        ("    cpu:  100m", "    cpu:  100m"),
        ("  cpu   100m (5%)   0 (0%)", "  cpu  100m (5%)  0 (0%)"),
    ];
    for (text, expected) in cases {
        assert_eq!(normal(text), expected);
    }
}
