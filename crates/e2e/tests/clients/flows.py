"""Create, watch, patch, read logs of, run commands in, and delete all three kinds with the official Python client.

A watch of each kind stays open for the whole run; at the end, each must have told of every change once and in order.
The cluster is that of $KUBECONFIG; it has a node and the image `busybox`.
"""

import threading
import time

from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config()
core, batch, apps = client.CoreV1Api(), client.BatchV1Api(), client.AppsV1Api()
NAMESPACE = "default"
PATIENCE = 90
LAST = "the-last"


class Informer(threading.Thread):
    """Keeps a watch open until it has told of the deletion of the object called LAST."""

    def __init__(self, list_function):
        super().__init__(daemon=True)
        self.list_function = list_function
        self.listed = list_function(NAMESPACE)
        self.events = []

    def run(self):
        version = self.listed.metadata.resource_version
        stream_of = watch.Watch()
        for event in stream_of.stream(self.list_function, NAMESPACE, resource_version=version):
            meta = event["object"].metadata
            self.events.append((event["type"], meta.name, int(meta.resource_version), dict(meta.labels or {})))
            if event["type"] == "DELETED" and meta.name == LAST:
                stream_of.stop()

    def check(self, patched):
        """Every change once and in order: versions rise, lives begin and end, and no patch is missing."""
        self.join(PATIENCE)
        assert not self.is_alive(), f"the watch goes on: {self.events[-3:]}"
        versions = [version for _, _, version, _ in self.events]
        assert versions == sorted(set(versions)), versions
        for name in {name for _, name, _, _ in self.events}:
            types = [kind for kind, of, _, _ in self.events if of == name]
            assert types[0] == "ADDED" and types[-1] == "DELETED", (name, types)
            assert set(types[1:-1]) <= {"MODIFIED"}, (name, types)
        for name, steps in patched.items():
            seen = [labels["step"] for _, of, _, labels in self.events if of == name and "step" in labels]
            distinct = [step for at, step in enumerate(seen) if at == 0 or seen[at - 1] != step]
            assert distinct == steps, (name, distinct, steps)


def until(what, probe):
    """Waits until a probe gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


def template(script, restart, labels=None):
    return {
        "metadata": {"labels": labels or {}},
        "spec": {
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    }


def gone(read, name):
    """Waits until an object is gone."""

    def is_gone():
        try:
            read(name, NAMESPACE)
        except client.ApiException as refused:
            assert refused.status == 404, refused
            return True
        return False

    until(f"{name} to go", is_gone)


def patch_in_steps(patch, name):
    """Patches a label several times; gives its values."""
    steps = [str(step) for step in range(8)]
    for step in steps:
        answer = patch(name, NAMESPACE, {"metadata": {"labels": {"step": step}}})
        assert answer.metadata.labels["step"] == step
    return {name: steps}


def jobs():
    informer = Informer(batch.list_namespaced_job)
    informer.start()
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "hello"},
        "spec": {"completions": 2, "parallelism": 2, "template": template("echo hello; sleep 1", "Never")},
    }
    batch.create_namespaced_job(NAMESPACE, body)
    try:
        batch.create_namespaced_job(NAMESPACE, body)
        raise AssertionError("a second job of that name")
    except client.ApiException as refused:
        assert refused.status == 409 and refused.reason == "Conflict", refused
    patched = patch_in_steps(batch.patch_namespaced_job, "hello")
    done = until("hello to complete", lambda: complete("hello"))
    assert done.status.succeeded == 2 and done.spec.completions == 2
    pods = core.list_namespaced_pod(NAMESPACE, label_selector="job-name=hello").items
    assert len(pods) == 2 and all(pod.status.phase == "Succeeded" for pod in pods)
    for pod in pods:
        assert core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE) == "hello\n"
    batch.delete_namespaced_job("hello", NAMESPACE, propagation_policy="Foreground")
    gone(batch.read_namespaced_job, "hello")
    assert not core.list_namespaced_pod(NAMESPACE, label_selector="job-name=hello").items
    body["metadata"]["name"] = LAST
    body["spec"]["suspend"] = True
    batch.create_namespaced_job(NAMESPACE, body)
    batch.delete_namespaced_job(LAST, NAMESPACE, propagation_policy="Background")
    informer.check(patched)


def complete(name):
    job = batch.read_namespaced_job(name, NAMESPACE)
    conditions = job.status.conditions or []
    return job if any(c.type == "Complete" and c.status == "True" for c in conditions) else None


def cron_jobs():
    informer = Informer(batch.list_namespaced_cron_job)
    informer.start()
    body = client.V1CronJob(
        metadata=client.V1ObjectMeta(name="nightly"),
        spec=client.V1CronJobSpec(
            schedule="0 3 * * *",
            time_zone="Europe/Berlin",
            job_template=client.V1JobTemplateSpec(spec={"template": template("echo a run", "Never")}),
        ),
    )
    created = batch.create_namespaced_cron_job(NAMESPACE, body)
    assert created.spec.concurrency_policy == "Allow" and created.spec.suspend is False
    patched = patch_in_steps(batch.patch_namespaced_cron_job, "nightly")
    changed = batch.patch_namespaced_cron_job("nightly", NAMESPACE, [{"op": "add", "path": "/spec/suspend", "value": True}])
    assert changed.spec.suspend is True
    try:
        batch.patch_namespaced_cron_job("nightly", NAMESPACE, {"spec": {"schedule": "never"}})
        raise AssertionError("a schedule that is none")
    except client.ApiException as refused:
        assert refused.status == 422 and "expected exactly 5 fields" in refused.body, refused
    owner = client.V1OwnerReference(
        api_version="batch/v1", kind="CronJob", name="nightly", uid=created.metadata.uid, controller=True
    )
    run = client.V1Job(
        metadata=client.V1ObjectMeta(name="by-hand", owner_references=[owner]), spec=created.spec.job_template.spec
    )
    batch.create_namespaced_job(NAMESPACE, run)
    until("the run to complete", lambda: complete("by-hand"))
    pod = core.list_namespaced_pod(NAMESPACE, label_selector="job-name=by-hand").items[0]
    lines = core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE, follow=True, _preload_content=False)
    assert b"".join(lines.stream()) == b"a run\n"
    batch.delete_namespaced_cron_job("nightly", NAMESPACE)
    gone(batch.read_namespaced_job, "by-hand")
    body.metadata.name = LAST
    batch.create_namespaced_cron_job(NAMESPACE, body)
    batch.delete_namespaced_cron_job(LAST, NAMESPACE)
    informer.check(patched)


def daemon_sets():
    informer = Informer(apps.list_namespaced_daemon_set)
    informer.start()
    labels = {"app": "agent"}
    script = "trap 'exit 0' TERM; echo started; while :; do sleep 1; done"
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": labels}, "template": template(script, "Always", labels)},
    }
    apps.create_namespaced_daemon_set(NAMESPACE, body)
    ready(1)
    patched = patch_in_steps(apps.patch_namespaced_daemon_set, "agent")
    pod = core.list_namespaced_pod(NAMESPACE, label_selector="app=agent").items[0].metadata.name
    assert core.read_namespaced_pod_log(pod, NAMESPACE, tail_lines=1) == "started\n"
    said = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        NAMESPACE,
        command=["sh", "-c", "echo out; echo err >&2; exit 3"],
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    said.run_forever(timeout=PATIENCE)
    assert (said.read_stdout(), said.read_stderr(), said.returncode) == ("out\n", "err\n", 3)
    change = {"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}}
    apps.patch_namespaced_daemon_set("agent", NAMESPACE, change)
    ready(2)
    assert core.list_namespaced_pod(NAMESPACE, label_selector="app=agent").items[0].metadata.name != pod
    apps.delete_namespaced_daemon_set("agent", NAMESPACE, propagation_policy="Foreground")
    gone(apps.read_namespaced_daemon_set, "agent")
    body["metadata"]["name"] = LAST
    body["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    apps.create_namespaced_daemon_set(NAMESPACE, body)
    apps.delete_namespaced_daemon_set(LAST, NAMESPACE)
    informer.check(patched)


def ready(generation):
    def is_ready():
        found = apps.read_namespaced_daemon_set("agent", NAMESPACE)
        status = found.status
        return (
            status.observed_generation == found.metadata.generation == generation
            and status.number_available == status.updated_number_scheduled == status.desired_number_scheduled == 1
        )

    until(f"generation {generation} to be ready", is_ready)


jobs()
cron_jobs()
daemon_sets()
print("all flows done")
