//! A kubectl that is years older than the API it speaks to.

use rota_e2e::{Cluster, Image, kubectls, manifest};

#[test]
fn an_old_kubectl_gets_on_with_the_cluster() {
    let cluster = Cluster::start(&[], &[Image::MyApp, Image::Fluentd, Image::BackupTool]);
    let old = cluster.with_program(kubectls().remove(0));
    for file in [
        "004-job-db-migration.yaml",
        "004-daemonset-fluentd.yaml",
        "004-cronjob-db-backup.yaml",
    ] {
        let applied = old.apply(&manifest(file));
        assert!(applied.ends_with(" created\n"), "{applied}");
    }
    old.run(&["wait", "--for=condition=complete", "job/db-migration", "--timeout=90s"]);
    assert_eq!(old.run(&["logs", "job/db-migration"]), "running migrate.py\nmigrated\n");
    old.run(&["rollout", "status", "daemonset", "fluentd", "--timeout=90s"]);
    for (kind, name) in [
        ("job", "db-migration"),
        ("daemonset", "fluentd"),
        ("cronjob", "db-backup"),
        ("node", ""),
    ] {
        let described = old.run(&["describe", kind, name][..if name.is_empty() { 2 } else { 3 }]);
        assert!(described.starts_with("Name:"), "{described}");
    }
    old.run(&["create", "job", &old.from_cron_job("db-backup"), "manual-backup"]);
    old.run(&["wait", "--for=condition=complete", "job/manual-backup", "--timeout=90s"]);
    old.run(&["delete", "cronjobs,jobs,daemonsets", "--all"]);
    old.until("the pods to go", &["get", "pods", "-o", "name"], str::is_empty);
}
