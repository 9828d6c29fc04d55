//! A machine becomes a node as a stock kubelet does: it asks for a certificate, and is given one.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rota_api::resource;
use rota_registry::{Event, WatchOptions};
use serde_json::{Value, json};
use support::{Answer, World, ask};

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A request of the node `n`, with its key.
fn request(signer: &str, usage: &str, names: &[SanType]) -> (Value, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "system:node:n");
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.subject_alt_names = names.to_vec();
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let spec = json!({"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", usage]});
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"}, "spec": spec});
    (object, key)
}

async fn send(world: &World, user: (&str, &str), method: &str, path: &str, body: &Value) -> Answer {
    let stream = world
        .connect_to(world.address, "localhost", &world.identity(user.0, user.1))
        .await;
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let head = format!("{method} {path} HTTP/1.1\r\nContent-Type: {kind}");
    ask(stream, &head, body.to_string().as_bytes()).await
}

/// The certificate once there is one, or the condition that says why there will be none.
async fn answered(world: &World) -> Value {
    let kind = resource::CERTIFICATE_SIGNING_REQUESTS;
    let mut watch = world.registry.watch(kind, &WatchOptions::default()).await.unwrap();
    while let Some(event) = watch.next().await {
        if let Event::Added(object) | Event::Modified(object) = event {
            let value = object.to_value();
            let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let has_failed = conditions.iter().any(|condition| condition["type"] == "Failed");
            if value["status"]["certificate"].is_string() || has_failed {
                return value;
            }
        }
    }
    panic!("the watch ended");
}

const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

#[tokio::test]
async fn a_machine_that_begins_is_given_the_certificate_of_a_node_and_is_one_with_it() {
    let world = World::new().await;
    let (object, key) = request(KUBELET_CLIENT, "client auth", &[]);
    let machine = ("system:bootstrap:abcdef", "system:bootstrappers");
    let created = send(&world, machine, "POST", PATH, &object).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let spec: Value = created.status()["spec"].clone();
    assert_eq!(spec["username"], "system:bootstrap:abcdef");
    let answered = answered(&world).await;
    assert_eq!(answered["status"]["conditions"][0]["reason"], "AutoApproved");
    let pem = STANDARD
        .decode(answered["status"]["certificate"].as_str().unwrap())
        .unwrap();
    let identity = rota_apiserver::Identity {
        certificate_pem: String::from_utf8(pem).unwrap(),
        key_pem: key.serialize_pem(),
    };
    let stream = world.connect_to(world.address, "localhost", &identity).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let head = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nContent-Type: application/json";
    let told = ask(stream, head, review.to_string().as_bytes()).await.status();
    assert_eq!(told["status"]["userInfo"]["username"], "system:node:n");
}

#[tokio::test]
async fn a_serving_certificate_waits_for_somebody_who_may_approve_it() {
    let world = World::new().await;
    let name = SanType::DnsName("n".try_into().unwrap());
    let (object, _) = request(KUBELET_SERVING, "server auth", &[name]);
    let node = ("system:node:n", "system:nodes");
    assert_eq!(send(&world, node, "POST", PATH, &object).await.code, 201);
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}});
    let path = format!("{PATH}/r/approval");
    let refused = send(&world, node, "PATCH", &path, &approval).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    let approved = send(&world, ("admin", "system:masters"), "PATCH", &path, &approval).await;
    assert_eq!(approved.code, 200, "{}", approved.body);
    assert!(approved.status()["status"]["conditions"][0]["lastUpdateTime"].is_string());
    assert!(answered(&world).await["status"]["certificate"].is_string());
}

#[tokio::test]
async fn a_node_asks_for_no_certificate_of_another() {
    let world = World::new().await;
    for (signer, usage) in [(KUBELET_CLIENT, "client auth"), (KUBELET_SERVING, "server auth")] {
        let (object, _) = request(signer, usage, &[]);
        let refused = send(&world, ("system:node:m", "system:nodes"), "POST", PATH, &object).await;
        assert_eq!(
            refused.status()["message"],
            "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: can only create a node CSR with \
             CN=system:node:m"
        );
    }
}

#[tokio::test]
async fn nobody_makes_himself_an_administrator_and_what_is_no_request_is_refused() {
    let world = World::new().await;
    let (mut object, _) = request("kubernetes.io/kube-apiserver-client", "client auth", &[]);
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    let pem = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap();
    object["spec"]["request"] = STANDARD.encode(pem).into();
    let admin = ("admin", "system:masters");
    let refused = send(&world, admin, "POST", PATH, &object).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    object["spec"]["request"] = STANDARD.encode("nonsense").into();
    let refused = send(&world, admin, "POST", PATH, &object).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert!(refused.body.contains("PEM block type must be CERTIFICATE REQUEST"));
}

#[tokio::test]
async fn what_the_signer_does_not_take_fails_and_says_why() {
    let world = World::new().await;
    let (object, _) = request(KUBELET_SERVING, "server auth", &[]);
    let admin = ("admin", "system:masters");
    assert_eq!(send(&world, admin, "POST", PATH, &object).await.code, 201);
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
    let approved = send(&world, admin, "PATCH", &format!("{PATH}/r/approval"), &approval).await;
    assert_eq!(approved.code, 200, "{}", approved.body);
    let answered = answered(&world).await;
    let failed = &answered["status"]["conditions"][1];
    assert_eq!(failed["message"], "DNS or IP subjectAltName is required");
}
