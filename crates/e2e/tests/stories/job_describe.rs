//! What `kubectl describe` tells of a Job.

use rota_e2e::Cluster;

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

#[test]
fn describe_tells_of_a_job_what_is_set() {
    let cluster = Cluster::start(&["--sim-nodes", "1", "--sim-run-ms", "100"], &[]);
    let job = |name: &str, spec: &str| {
        let template = r#""template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"app:1"}]}}"#;
        let text = format!(
            r#"{{"apiVersion":"batch/v1","kind":"Job","metadata":{{"name":"{name}"}},"spec":{{{spec}{template}}}}}"#
        );
        cluster.apply_text(name, &text);
        cluster.run(&[
            "wait",
            "--for=condition=complete",
            &format!("job/{name}"),
            "--timeout=90s",
        ]);
        cluster.run(&["describe", "job", name])
    };
    let plain = job("plain", "");
    assert_eq!(line(&plain, "Completed Indexes"), None, "{plain}");
    assert_eq!(line(&plain, "TTL Seconds After Finished"), None, "{plain}");
    assert_eq!(
        (line(&plain, "Suspend"), line(&plain, "Backoff Limit")),
        (Some("false"), Some("6"))
    );
    assert_eq!(
        line(&plain, "Pods Statuses"),
        Some("0 Active (0 Ready) / 1 Succeeded / 0 Failed")
    );
    assert!(
        plain.contains("Completed") && plain.contains("Job completed"),
        "{plain}"
    );

    let spec = r#""completions":3,"parallelism":3,"completionMode":"Indexed","ttlSecondsAfterFinished":900,"#;
    let indexed = job("indexed", spec);
    assert_eq!(line(&indexed, "Completion Mode"), Some("Indexed"));
    assert_eq!(line(&indexed, "Completed Indexes"), Some("0-2"), "{indexed}");
    assert_eq!(line(&indexed, "TTL Seconds After Finished"), Some("900"), "{indexed}");
}
