//! What the controllers ask of a server that is in order.

use rota_e2e::proxy::{Faults, Proxy};
use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::json;

use crate::words::{apply, job, until_ended};

#[test]
fn many_answers_in_small_pieces_break_no_connection() {
    let cluster = Cluster::start(&["--sim-nodes", "20", NO_CONTROLLERS], &[]);
    let proxy = Proxy::start(&cluster.kubeconfig(), cluster.dir(), Faults::crumbs(50));
    // However slow the machine, no answer is given up.
    let options = ["--leader-elect=false", "--request-timeout", "10m"];
    let controllers = cluster.controllers("controllers", &proxy.kubeconfig(), &options);
    let spec = json!({"completions": 200, "parallelism": 100});
    apply(&cluster, "work", &[job("wide", &spec, &json!({}))]);
    until_ended(&cluster, 1);
    let metrics = controllers.http("/metrics");
    let requests = || {
        metrics
            .lines()
            .filter(|line| line.starts_with("rest_client_requests_total"))
    };
    assert!(
        requests().any(|line| line.contains(r#"code="201",method="POST",resource="pods"} 200"#)),
        "{metrics}"
    );
    let unanswered: Vec<&str> = requests().filter(|line| line.contains(r#"code="<error>""#)).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
}
