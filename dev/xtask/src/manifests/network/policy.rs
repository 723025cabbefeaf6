//! A NetworkPolicy, read.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Labels, OUTSIDE};
use crate::manifests::built::Object;
use crate::manifests::findings::Findings;
use crate::manifests::json::{entries, list, text, texts};

/// By which policies tell namespaces apart.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn denies_everything(policy: &Object) -> bool {
    let everybody = policy.value.pointer("/spec/podSelector").is_none_or(|selector| *selector == json!({}));
    let types = texts(&policy.value, "/spec/policyTypes");
    everybody && types.contains(&"Ingress") && types.contains(&"Egress") && ways(policy).is_empty()
}

/// Kubernetes ignores egress rules of a policy that is not for egress.
pub(super) fn check_types(policy: &Object, findings: &mut Findings) {
    for (rules, kind) in [("/spec/ingress", "Ingress"), ("/spec/egress", "Egress")] {
        let named = texts(&policy.value, "/spec/policyTypes").contains(&kind);
        if !list(&policy.value, rules).is_empty() && !named {
            policy.wrong(format!("has rules in {rules}, but no {kind} in its policyTypes: add it"), findings);
        }
    }
}

/// Every way that a policy opens. A rule without peers is for everybody, one without ports for every port.
pub(super) fn ways(policy: &Object) -> Vec<String> {
    let mut all = Vec::new();
    for (direction, rules, peers) in
        [("in from", "/spec/ingress", "/from"), ("out to", "/spec/egress", "/to")]
    {
        for rule in list(&policy.value, rules) {
            for peer in described(list(rule, peers), peer, "everybody") {
                let ports = described(list(rule, "/ports"), port, "every port");
                all.extend(ports.iter().map(|port| format!("{direction} {peer}, {port}")));
            }
        }
    }
    all
}

fn described(items: &[Value], describe: fn(&Value) -> String, none: &str) -> Vec<String> {
    if items.is_empty() { vec![none.to_owned()] } else { items.iter().map(describe).collect() }
}

/// A peer as [`super::WAYS`] has it. Whatever is chosen by more or less than one name is left as it is written, and expected nowhere.
fn peer(peer: &Value) -> String {
    let namespace = text(peer, "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name");
    let (application, cidr) = (text(peer, "/podSelector/matchLabels/k8s-app"), text(peer, "/ipBlock/cidr"));
    let selector = json!({"matchLabels": {NAMESPACE_LABEL: namespace}});
    let pods = json!({"matchLabels": {"k8s-app": application}});
    if *peer == json!({"namespaceSelector": selector}) {
        format!("namespace {namespace}")
    } else if *peer == json!({"namespaceSelector": selector, "podSelector": pods}) {
        format!("{application} in namespace {namespace}")
    } else if *peer == json!({"ipBlock": {"cidr": cidr}}) && is_subnet(cidr) {
        OUTSIDE.to_owned()
    } else {
        peer.to_string()
    }
}

fn is_subnet(cidr: &str) -> bool {
    let (address, length) = cidr.split_once('/').unwrap_or_default();
    match (address.parse(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length >= 24,
        (Ok(IpAddr::V6(_)), Ok(length)) => length >= 64,
        _ => false,
    }
}

/// `TCP 80`; a name or a range is left as it is written.
fn port(entry: &Value) -> String {
    let protocol = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    match (entry.get("port").and_then(Value::as_u64), entry.get("endPort")) {
        (Some(port), None) => format!("{protocol} {port}"),
        _ => entry.to_string(),
    }
}

/// A label selector, as Kubernetes reads it.
pub(super) fn matches(selector: &Value, labels: &Labels) -> bool {
    let equal = entries(selector, "/matchLabels")
        .all(|(name, value)| labels.get(name).map(String::as_str) == value.as_str());
    equal
        && list(selector, "/matchExpressions").iter().all(|expression| {
            let label = labels.get(text(expression, "/key")).map(String::as_str);
            let among = label.is_some_and(|label| texts(expression, "/values").contains(&label));
            match text(expression, "/operator") {
                "In" => among,
                "NotIn" => !among,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_kubernetes_reads_it() {
        let labels = Labels::from([("app".to_owned(), "a".to_owned())]);
        assert!(matches(&json!({}), &labels));
        assert!(matches(&json!({"matchLabels": {"app": "a"}}), &labels));
        assert!(!matches(&json!({"matchLabels": {"app": "b"}}), &labels));
        let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        assert!(matches(&expression("In", &["a", "b"]), &labels));
        assert!(!matches(&expression("In", &["b"]), &labels));
        assert!(matches(&expression("NotIn", &["b"]), &labels));
        assert!(!matches(&expression("DoesNotExist", &[]), &labels));
    }

    #[test]
    fn a_peer_is_one_namespace_its_named_pods_or_a_subnet() {
        let labels = |name: &str, value: &str| json!({"matchLabels": {name: value}});
        let namespace = labels(NAMESPACE_LABEL, "a");
        assert_eq!(peer(&json!({"namespaceSelector": namespace})), "namespace a");
        let dns = json!({"namespaceSelector": namespace, "podSelector": labels("k8s-app", "b")});
        assert_eq!(peer(&dns), "b in namespace a");
        for cidr in ["10.0.0.5/32", "10.0.0.0/24", "fd00::/64"] {
            assert_eq!(peer(&json!({"ipBlock": {"cidr": cidr}})), OUTSIDE);
        }
        for other in [
            json!({}),
            json!({"namespaceSelector": {}}),
            json!({"namespaceSelector": labels("team", "a")}),
            json!({"namespaceSelector": namespace, "podSelector": {}}),
            json!({"podSelector": {}}),
            json!({"ipBlock": {"cidr": "0.0.0.0/0"}}),
            json!({"ipBlock": {"cidr": "10.0.0.0/16"}}),
            json!({"ipBlock": {"cidr": "::/0"}}),
        ] {
            assert_eq!(peer(&other), other.to_string());
        }
    }

    #[test]
    fn a_port_is_one_number() {
        assert_eq!(port(&json!({"port": 80})), "TCP 80");
        assert_eq!(port(&json!({"protocol": "UDP", "port": 53})), "UDP 53");
        for other in [json!({"protocol": "TCP"}), json!({"port": "http"}), json!({"port": 80, "endPort": 90})]
        {
            assert_eq!(port(&other), other.to_string());
        }
    }
}
