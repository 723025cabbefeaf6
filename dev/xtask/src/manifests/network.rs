//! The NetworkPolicies let pods go where they have to, and nobody in but whom the API is for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Manifests;
use super::apps::INTERNAL;
use super::built::Object;
use super::findings::Findings;
use super::json::{entries, list, named_texts, text, texts};
use super::spin_app::{APP_PORT, SpinApp};

type Labels = BTreeMap<String, String>;

/// By which policies tell namespaces apart.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// The namespace of who reads metrics.
const MONITORING: &str = "monitoring";

/// Where a pod has to get to.
struct Address {
    what: &'static str,
    host: String,
    port: u64,
    protocol: &'static str,
}

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    let migrations = manifests.kustomization("postgres/migrate", findings);
    for target in manifests.overlays() {
        let policies: Vec<&Object> = target.of_kind("NetworkPolicy").collect();
        if !policies.iter().any(|policy| denies_everything(policy)) {
            let what =
                "has no NetworkPolicy that forbids every pod everything: what no policy selects is open";
            findings.add(&target.path, what);
        }
        for app in SpinApp::all_in(target) {
            for address in addresses(&app) {
                check_way_out(&policies, app.object, &app.labels(), &address, findings);
            }
            check_ways_in(manifests, &policies, &app, findings);
        }
        for job in migrations.into_iter().flat_map(|target| target.of_kind("Job")) {
            let labels = named_texts(&job.value, "/spec/template/metadata/labels");
            let database = SpinApp::all_in(target).filter_map(|app| database(&app));
            for address in database.chain([dns()]) {
                check_way_out(&policies, job, &labels, &address, findings);
            }
        }
        for policy in &policies {
            check_rules_name_somebody(policy, findings);
        }
    }
}

fn denies_everything(policy: &Object) -> bool {
    let spec = |pointer: &str| policy.value.pointer(pointer);
    let empty =
        |value: Option<&Value>| value.and_then(Value::as_object).is_some_and(serde_json::Map::is_empty);
    let types = texts(&policy.value, "/spec/policyTypes");
    empty(spec("/spec/podSelector"))
        && types.contains(&"Ingress")
        && types.contains(&"Egress")
        && list(&policy.value, "/spec/ingress").is_empty()
        && list(&policy.value, "/spec/egress").is_empty()
}

/// Everything that an app and the sidecar in its pod connect to, by its own settings.
fn addresses(app: &SpinApp<'_>) -> Vec<Address> {
    let mut all: Vec<Address> = database(app).into_iter().chain([dns()]).collect();
    for component in app.target.of_kind("Component") {
        if texts(&component.value, "/scopes").contains(&app.name()) {
            let hosts = component.metadata("brokers").split(',');
            all.extend(hosts.filter_map(|host| address("the brokers of pubsub-kafka", host)));
        }
    }
    if let Some(configuration) = app.target.object("Configuration", app.annotation("dapr.io/config")) {
        all.extend(address("traces", text(&configuration.value, "/spec/tracing/otel/endpointAddress")));
    }
    all
}

fn database(app: &SpinApp<'_>) -> Option<Address> {
    address("database_host", app.value("database_host")?)
}

fn dns() -> Address {
    Address { what: "DNS", host: "kube-dns.kube-system.svc".to_owned(), port: 53, protocol: "UDP" }
}

fn address(what: &'static str, host_port: &str) -> Option<Address> {
    let (host, port) = host_port.trim().rsplit_once(':')?;
    Some(Address { what, host: host.to_owned(), port: port.parse().ok()?, protocol: "TCP" })
}

fn check_way_out(
    policies: &[&Object],
    who: &Object,
    labels: &Labels,
    address: &Address,
    findings: &mut Findings,
) {
    let open = policies.iter().filter(|policy| selects(policy, labels)).any(|policy| {
        list(&policy.value, "/spec/egress").iter().any(|rule| {
            has_port(rule, address.port, address.protocol)
                && list(rule, "/to").iter().any(|peer| leads_to(peer, &address.host))
        })
    });
    if !open {
        let Address { what, host, port, protocol } = address;
        let what = format!(
            "no NetworkPolicy lets its pods reach {host}:{port} over {protocol} ({what}): add the way, or mend the address"
        );
        who.wrong(what, findings);
    }
}

/// A name in the cluster is led to by its namespace, another one by a block of addresses.
fn leads_to(peer: &Value, host: &str) -> bool {
    let mut parts = host.split('.').skip(1);
    match (parts.next(), parts.next()) {
        (Some(namespace), Some("svc")) => {
            let labels = Labels::from([(NAMESPACE_LABEL.to_owned(), namespace.to_owned())]);
            peer.get("namespaceSelector").is_some_and(|selector| matches(selector, &labels))
        }
        _ => peer.get("ipBlock").is_some(),
    }
}

fn check_ways_in(
    manifests: &Manifests<'_>,
    policies: &[&Object],
    app: &SpinApp<'_>,
    findings: &mut Findings,
) {
    let routes = manifests.spin.routes_of(&app.components());
    let internal = routes.iter().any(|route| route.starts_with(INTERNAL));
    let labels = app.labels();
    let selecting = policies.iter().filter(|policy| selects(policy, &labels));
    let rules = selecting
        .flat_map(|policy| list(&policy.value, "/spec/ingress").iter().map(move |rule| (policy, rule)));
    let open: Vec<_> = rules.filter(|(_, rule)| has_port(rule, APP_PORT, "TCP")).collect();
    if internal {
        for (policy, _) in open.iter().filter(|(_, rule)| !is_monitoring(rule)) {
            let what = format!(
                "lets others call {}, which is for its sidecar and for {MONITORING} alone: remove port {APP_PORT}",
                app.name()
            );
            policy.wrong(what, findings);
        }
    } else if open.is_empty() {
        let what = format!(
            "no NetworkPolicy lets requests in to its port {APP_PORT}: add one, for the gateway alone"
        );
        app.object.wrong(what, findings);
    }
}

/// Whether a rule lets in only who reads metrics.
fn is_monitoring(rule: &Value) -> bool {
    let namespace = "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name";
    let peers = list(rule, "/from");
    !peers.is_empty() && peers.iter().all(|peer| text(peer, namespace) == MONITORING)
}

/// A rule without peers or without ports is for everybody, or for everything.
fn check_rules_name_somebody(policy: &Object, findings: &mut Findings) {
    for (rules, peers) in [("/spec/ingress", "/from"), ("/spec/egress", "/to")] {
        for rule in list(&policy.value, rules) {
            if list(rule, peers).is_empty() || list(rule, "/ports").is_empty() {
                let what = format!(
                    "has a rule in {rules} without {peers} or /ports, which leaves it open: name them"
                );
                policy.wrong(what, findings);
            }
        }
    }
}

fn has_port(rule: &Value, port: u64, protocol: &str) -> bool {
    list(rule, "/ports").iter().any(|entry| {
        let own = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        entry.get("port").and_then(Value::as_u64) == Some(port) && own == protocol
    })
}

fn selects(policy: &Object, labels: &Labels) -> bool {
    policy.value.pointer("/spec/podSelector").is_some_and(|selector| matches(selector, labels))
}

/// A label selector, as Kubernetes reads it.
fn matches(selector: &Value, labels: &Labels) -> bool {
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
    use serde_json::json;

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
    fn a_name_in_the_cluster_is_led_to_by_its_namespace() {
        let namespace = json!({"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kafka"}}});
        let block = json!({"ipBlock": {"cidr": "10.0.0.5/32"}});
        assert!(leads_to(&namespace, "brokers.kafka.svc.cluster.local"));
        assert!(!leads_to(&namespace, "brokers.other.svc"));
        assert!(!leads_to(&block, "brokers.kafka.svc"));
        assert!(leads_to(&block, "database.example.com"));
    }
}
