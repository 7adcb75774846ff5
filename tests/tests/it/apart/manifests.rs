//! What `k8s/base` says about a pod, read from the files that kustomize reads: the arguments, where
//! things are mounted, the settings, and who may talk to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/base")
}

fn read(file: &str) -> String {
    let path = base().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The settings that all services share, as text.
pub(super) fn settings() -> String {
    read("rapport.toml")
}

/// A container as the Deployment of one service starts it.
pub(super) struct Container {
    pub(super) args: Vec<String>,
    /// Volume name → where it is mounted.
    pub(super) mounts: BTreeMap<String, String>,
    /// What the liveness probe asks for; none is asked by HTTP.
    pub(super) liveness: Option<String>,
}

impl Container {
    /// The shape, with the patches of the service's directory.
    pub(super) fn of(service: &str) -> Self {
        let mut deployment = documents("shape/deployment.yaml").remove(0);
        let own = documents(&format!("{service}/kustomization.yaml")).remove(0);
        for patch in own["patches"].as_array().expect("patches") {
            if patch["target"]["kind"] != "Deployment" {
                continue;
            }
            let operations: Vec<Value> =
                serde_saphyr::from_str(patch["patch"].as_str().expect("text")).expect("a patch");
            for operation in operations {
                assert_eq!(operation["op"], "replace", "this reader knows no other operation");
                let path = operation["path"].as_str().expect("a path");
                *deployment.pointer_mut(path).expect(path) = operation["value"].clone();
            }
        }
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        Self {
            args: container["args"].as_array().expect("arguments").iter().map(text).collect(),
            mounts: mounts
                .iter()
                .map(|mount| (text(&mount["name"]), text(&mount["mountPath"])))
                .collect(),
            liveness: container.pointer("/livenessProbe/grpc/service").map(text),
        }
    }
}

/// (caller, called) of every call that both the caller's and the called one's policy allow.
pub(super) fn edges() -> BTreeSet<(String, String)> {
    let (mut out, mut into) = (BTreeSet::new(), BTreeSet::new());
    for policy in documents("network.yaml") {
        let component = "app.kubernetes.io~1component";
        let own = policy.pointer(&format!("/spec/podSelector/matchLabels/{component}"));
        let Some(own) = own.and_then(Value::as_str) else { continue };
        for peer in components(&policy["spec"]["egress"], "to") {
            out.insert((own.to_owned(), peer));
        }
        for peer in components(&policy["spec"]["ingress"], "from") {
            into.insert((peer, own.to_owned()));
        }
    }
    assert_eq!(out, into, "an edge is allowed at one end only");
    out
}

fn components(rules: &Value, end: &str) -> Vec<String> {
    let rules = rules.as_array().into_iter().flatten();
    let peers = rules.flat_map(|rule| rule[end].as_array().expect("peers"));
    let values = peers.filter_map(|peer| peer.pointer("/podSelector/matchExpressions/0/values"));
    let values = values.flat_map(|values| values.as_array().expect("values"));
    values.map(|value| value.as_str().expect("text").to_owned()).collect()
}
