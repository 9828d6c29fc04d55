//! What people type: `kubectl` against a server in process.
//!
//! The program is the one in `KUBECTL`, else the first in the path. Without it these tests fail: they then have shown nothing.

mod support;

use support::Kubectl;

const CRON_JOB: &str = r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: c, image: "app:v1", command: ["true"]}]
"#;

#[tokio::test]
async fn manifests_are_applied_checked_and_shown() {
    let kubectl = Kubectl::start().await;
    let file = kubectl.file("cronjob.yaml", CRON_JOB);
    assert_eq!(
        kubectl.run(&format!("apply -f {file}")).await,
        "cronjob.batch/nightly created\n"
    );
    assert_eq!(
        kubectl.run(&format!("apply -f {file}")).await,
        "cronjob.batch/nightly unchanged\n"
    );
    kubectl.file("cronjob.yaml", &CRON_JOB.replace("0 3", "30 4"));
    assert_eq!(
        kubectl.run(&format!("apply -f {file}")).await,
        "cronjob.batch/nightly configured\n"
    );
    let schedule = kubectl.run("get cj nightly -o jsonpath={.spec.schedule}").await;
    assert_eq!(schedule, "30 4 * * *");
    assert!(kubectl.run("describe cj nightly").await.contains("30 4 * * *"));
    let wrong = kubectl.file("wrong.yaml", &CRON_JOB.replace("schedule:", "shedule:"));
    let (applied, text) = kubectl.try_run(&format!("apply -f {wrong}")).await;
    assert!(!applied && text.contains("shedule"), "{text}");
}

#[tokio::test]
async fn a_job_is_created_from_a_cron_job_and_deleted() {
    let kubectl = Kubectl::start().await;
    let file = kubectl.file("cronjob.yaml", CRON_JOB);
    kubectl.run(&format!("create -f {file}")).await;
    assert_eq!(
        kubectl.run("create job now --from=cronjob/nightly").await,
        "job.batch/now created\n"
    );
    let owner = kubectl
        .run("get job now -o jsonpath={.metadata.ownerReferences[0].name}")
        .await;
    assert_eq!(owner, "nightly");
    let deleted = kubectl.run("delete job now").await;
    assert!(deleted.contains("\"now\" deleted"), "{deleted}");
    let (found, text) = kubectl.try_run("get job now").await;
    assert!(!found && text.contains("jobs.batch \"now\" not found"), "{text}");
}

#[tokio::test]
async fn objects_are_patched_labelled_and_selected() {
    let kubectl = Kubectl::start().await;
    kubectl.run("create configmap a --from-literal=x=1").await;
    kubectl.run("create configmap b --from-literal=x=2").await;
    kubectl.run("label configmap a tier=front").await;
    kubectl
        .run(r#"patch configmap a --type=merge -p {"data":{"x":"9"}}"#)
        .await;
    assert_eq!(
        kubectl.run("get cm -l tier=front -o jsonpath={.items[*].data.x}").await,
        "9"
    );
    assert_eq!(kubectl.run("get cm -l tier=front -o name").await, "configmap/a\n");
}

#[tokio::test]
async fn permissions_are_asked_and_granted() {
    let kubectl = Kubectl::start().await;
    assert_eq!(kubectl.run("auth can-i create jobs").await, "yes\n");
    let (allowed, _) = kubectl.try_run("auth can-i list jobs --as=alice").await;
    assert!(!allowed);
    kubectl
        .run("create rolebinding alice --clusterrole=view --user=alice")
        .await;
    assert_eq!(kubectl.run("auth can-i list jobs --as=alice").await, "yes\n");
    let (allowed, _) = kubectl.try_run("auth can-i create jobs --as=alice").await;
    assert!(!allowed);
}

#[tokio::test]
async fn kinds_and_fields_are_discovered_and_explained() {
    let kubectl = Kubectl::start().await;
    let kinds = kubectl.run("api-resources --api-group=batch").await;
    assert!(kinds.contains("cronjobs") && kinds.contains("jobs"), "{kinds}");
    let field = kubectl.run("explain job.spec.parallelism").await;
    assert!(field.contains("integer"), "{field}");
}
