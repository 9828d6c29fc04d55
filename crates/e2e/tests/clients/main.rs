//! Clients of other makers against a whole cluster: kube-rs, and the Python client.

mod kube_rs;
mod python;
