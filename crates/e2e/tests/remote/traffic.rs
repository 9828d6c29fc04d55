//! What the controllers ask of a server that is in order.

use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::json;

use crate::words::{apply, job, until_ended};

#[test]
fn hundreds_of_answers_at_once_break_no_connection() {
    let cluster = Cluster::start(&["--sim-nodes", "20", NO_CONTROLLERS], &[]);
    // However slow the machine, no answer is given up.
    let options = ["--leader-elect=false", "--request-timeout", "10m"];
    let controllers = cluster.controllers("controllers", &cluster.kubeconfig(), &options);
    let spec = json!({"completions": 600, "parallelism": 300});
    apply(&cluster, "work", &[job("wide", &spec, &json!({}))]);
    until_ended(&cluster, 1);
    let metrics = controllers.http("/metrics");
    let requests = || {
        metrics
            .lines()
            .filter(|line| line.starts_with("rest_client_requests_total"))
    };
    assert!(
        requests().any(|line| line.contains(r#"code="201",method="POST",resource="pods"} 600"#)),
        "{metrics}"
    );
    let unanswered: Vec<&str> = requests().filter(|line| line.contains(r#"code="<error>""#)).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
}
