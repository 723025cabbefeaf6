//! More than is needed, and less: ways between pods, and rights in Kafka.

use std::fs;

use serde_json::{Value, json};

use super::{Copy, Verdict, assert_found, assert_mistake};

const POLICIES: &str = "deploy/base/network-policies.yaml";
const USER: &str = "deploy/kafka/production/user.yaml";
const CONSUMER: &str = "deploy/samples/consumer/kafka-user.yaml";

/// A policy for the pods with a label.
fn policy(name: &str, (label, value): (&str, &str), types: &[&str], spec: &Value) -> String {
    let mut policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {label: value}}, "policyTypes": types},
    });
    policy["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    format!("---\n{policy}\n")
}

/// Adds to a file of the copy.
fn append(copy: &Copy, file: &str, text: &str) {
    let path = copy.root.join(file);
    let all = fs::read_to_string(&path).unwrap() + text;
    fs::write(path, all).unwrap();
}

/// Each object has a line that says this of it.
#[track_caller]
fn assert_all_found(copy: &Copy, cases: &[(String, String)]) {
    let Verdict { right, text } = copy.check();
    assert!(!right, "no mistake was noticed: {text}");
    for (object, what) in cases {
        let said = text.lines().any(|line| line.contains(object) && line.contains(what));
        assert!(said, "no line says {what:?} of {object}: {text}");
    }
}

/// A policy for each of the rules, for the app's pods; what has to be said of them.
fn append_each<const N: usize>(
    copy: &Copy,
    app: &str,
    (kind, rules): (&str, &str),
    cases: [(Value, &str); N],
) -> Vec<(String, String)> {
    let mut expected = Vec::new();
    for (number, (rule, what)) in cases.into_iter().enumerate() {
        let name = format!("extra-{number}");
        let label = ("core.spinkube.dev/app-name", app);
        append(copy, POLICIES, &policy(&name, label, &[kind], &json!({rules: [rule]})));
        expected.push((format!("NetworkPolicy/{name}:"), format!("lets {app} {what}")));
    }
    expected
}

#[test]
fn every_way_in_that_nobody_needs_is_found() {
    let gateway = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}});
    let tcp = |port: u16| json!([{"protocol": "TCP", "port": port}]);
    let from = |peer: Value| json!({"from": [peer], "ports": tcp(80)});
    let to = |ports: Value| json!({"from": [gateway], "ports": ports});
    let named =
        |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let cases = [
        (from(json!({"namespaceSelector": {}})), r#"in from {"namespaceSelector":{}}, TCP 80,"#),
        (from(json!({"podSelector": {}})), r#"in from {"podSelector":{}}, TCP 80,"#),
        (
            from(json!({"ipBlock": {"cidr": "0.0.0.0/0"}})),
            r#"in from {"ipBlock":{"cidr":"0.0.0.0/0"}}, TCP 80,"#,
        ),
        (from(json!({"ipBlock": {"cidr": "10.0.0.5/32"}})), "in from addresses outside, TCP 80,"),
        (from(named("default")), "in from namespace default, TCP 80,"),
        (from(named("monitoring")), "in from namespace monitoring, TCP 80,"),
        (
            from(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})),
            r#"in from {"namespaceSelector":{"matchLabels":{"team":"a"}}}, TCP 80,"#,
        ),
        (to(tcp(3500)), "in from namespace gateway, TCP 3500,"),
        (to(tcp(50001)), "in from namespace gateway, TCP 50001,"),
        (to(json!([{"port": "http"}])), r#"in from namespace gateway, {"port":"http"},"#),
        (
            to(json!([{"port": 80, "endPort": 4000}])),
            r#"in from namespace gateway, {"endPort":4000,"port":80},"#,
        ),
        (to(json!([{"protocol": "TCP"}])), r#"in from namespace gateway, {"protocol":"TCP"},"#),
        (to(json!([{"protocol": "UDP", "port": 80}])), "in from namespace gateway, UDP 80,"),
        (json!({"from": [gateway]}), "in from namespace gateway, every port,"),
        (json!({"ports": tcp(80)}), "in from everybody, TCP 80,"),
        (json!({}), "in from everybody, every port,"),
    ];
    let copy = Copy::new();
    let expected = append_each(&copy, "taskcast", ("Ingress", "ingress"), cases);
    assert_all_found(&copy, &expected);
}

#[test]
fn every_way_out_that_nobody_needs_is_found() {
    let named =
        |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let to = |peer: Value, port: u16| json!({"to": [peer], "ports": [{"protocol": "TCP", "port": port}]});
    // In the overlay for one's own machine, Kafka listens on 9092 alone and there is no collector.
    let cases = [
        (
            to(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}), 443),
            r#"out to {"ipBlock":{"cidr":"0.0.0.0/0"}}, TCP 443,"#,
        ),
        (to(json!({"namespaceSelector": {}}), 5432), r#"out to {"namespaceSelector":{}}, TCP 5432,"#),
        (to(named("kube-system"), 53), "out to namespace kube-system, TCP 53,"),
        (to(named("kafka"), 5432), "out to namespace kafka, TCP 5432,"),
        (to(named("dapr-system"), 443), "out to namespace dapr-system, TCP 443,"),
        (json!({"to": [named("kafka")]}), "out to namespace kafka, every port,"),
        (json!({"ports": [{"port": 443}]}), "out to everybody, TCP 443,"),
        (json!({}), "out to everybody, every port,"),
    ];
    let copy = Copy::new();
    let mut expected = append_each(&copy, "taskcast-relay", ("Egress", "egress"), cases);
    // What the apps may, the migrations may not.
    let rule = to(named("kafka"), 9093);
    let label = ("app.kubernetes.io/part-of", "taskcast");
    append(&copy, POLICIES, &policy("to-kafka-2", label, &["Egress"], &json!({"egress": [rule]})));
    expected.push((
        "NetworkPolicy/to-kafka-2:".to_owned(),
        "lets taskcast-migrate out to namespace kafka, TCP 9093,".to_owned(),
    ));
    assert_all_found(&copy, &expected);
}

#[test]
fn a_policy_that_opens_more_than_it_seems_to_is_found() {
    let everything = json!({"ingress": [{}]});
    let copy = Copy::new();
    let label = ("core.spinkube.dev/app-name", "taskcast");
    // Applied beside the overlay.
    append(&copy, "deploy/postgres/migrate/job.yaml", &policy("beside", label, &["Ingress"], &everything));
    append(&copy, POLICIES, &policy("of-nobody", ("dapr.io/app-id", "taskcast"), &["Ingress"], &everything));
    append(&copy, POLICIES, &policy("of-egress", label, &["Egress"], &everything));
    let metrics =
        fs::read_to_string(copy.root.join("deploy/components/metrics/network-policy.yaml")).unwrap();
    append(&copy, POLICIES, &format!("---\n{}", metrics.replace("name: monitoring-to", "name: always-to")));
    let expected = [
        ("deploy/postgres/migrate: NetworkPolicy/beside:", "lets taskcast in from everybody, every port,"),
        ("NetworkPolicy/of-nobody:", "selects no pods that are known here"),
        ("NetworkPolicy/of-egress:", "rules in /spec/ingress, but no Ingress in its policyTypes"),
        // Only an overlay with the component `metrics` lets a Prometheus in.
        (
            "deploy/overlays/production: NetworkPolicy/always-to-sidecars:",
            "lets taskcast in from namespace monitoring, TCP 9090,",
        ),
        (
            "deploy/overlays/production: NetworkPolicy/always-to-relay:",
            "lets taskcast-relay in from namespace monitoring, TCP 80,",
        ),
    ];
    assert_all_found(&copy, &expected.map(|(object, what)| (object.to_owned(), what.to_owned())));
}

#[test]
fn a_way_of_the_deployed_policies_that_is_wider_or_missing_is_found() {
    let overlay = "deploy/overlays/production/kustomization.yaml";
    let parts = ["NetworkPolicy/gateway-to-api:", "lets taskcast in from namespace default, TCP 80,"];
    assert_mistake(overlay, "value: gateway\n", "value: default\n", &parts);
    let namespace = "          namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: postgres";
    let parts = [
        "deploy/overlays/production: NetworkPolicy/to-postgres:",
        "{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"}}, TCP 5432,",
    ];
    assert_mistake(overlay, namespace, "          ipBlock:\n            cidr: 10.0.0.0/8", &parts);
    let pods = "          podSelector:\n            matchLabels:\n              k8s-app: kube-dns\n";
    let parts = ["NetworkPolicy/to-dns:", "lets taskcast-migrate out to namespace kube-system, UDP 53,"];
    assert_mistake(POLICIES, pods, "", &parts);
    let parts = ["SpinApp/taskcast-relay:", "out to namespace dapr-system, TCP 6500 (Dapr's operator)"];
    assert_mistake(POLICIES, "port: 6500", "port: 6501", &parts);
    let spans = "  deploymentConfig:\n    otel:\n      exporter_otlp_traces_endpoint: http://collector.observability.svc:4318/v1/traces\n";
    let parts = ["SpinApp/taskcast:", "out to namespace observability, TCP 4318 (the executor's otel"];
    assert_mistake("deploy/cluster/executor.yaml", "  deploymentConfig:\n", spans, &parts);
}

#[test]
fn a_database_outside_of_the_cluster_is_right() {
    let overlay = "deploy/overlays/production/kustomization.yaml";
    let namespace = "          namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: postgres";
    let copy = Copy::new()
        .with(overlay, namespace, "          ipBlock:\n            cidr: 10.0.0.5/32")
        .with(overlay, "postgres.postgres.svc.cluster.local:5432", "database.example.com:5432");
    let Verdict { right, text } = copy.check();
    assert!(right, "{text}");
}

#[test]
fn every_right_in_kafka_that_a_user_does_not_need_is_found() {
    let acl = |resource: Value, operation: &str| json!({"resource": resource, "operations": [operation]});
    let literal = |kind: &str, name: &str| json!({"type": kind, "name": name, "patternType": "literal"});
    let topic = || literal("topic", "task-events");
    let written = |acl: &Value| format!("{} {acl},", acl["operations"][0].as_str().unwrap());
    let mut cases = vec![
        (acl(topic(), "All"), "All topic task-events,".to_owned()),
        (acl(topic(), "Delete"), "Delete topic task-events,".to_owned()),
        (acl(literal("topic", "*"), "Describe"), "Describe topic *,".to_owned()),
        (acl(literal("group", "others"), "Read"), "Read group others,".to_owned()),
        (acl(literal("transactionalId", "t"), "Write"), "Write transactionalId t,".to_owned()),
    ];
    let others = [
        acl(json!({"type": "cluster"}), "IdempotentWrite"),
        acl(json!({"type": "cluster"}), "Create"),
        acl(json!({"type": "topic", "name": "task-", "patternType": "prefix"}), "Describe"),
        acl(json!({"type": "topic", "name": "others"}), "Describe"),
        json!({"type": "deny", "resource": topic(), "operations": ["Describe"]}),
    ];
    cases.extend(others.map(|acl| (acl.clone(), written(&acl))));
    let copy = Copy::new();
    let mut expected = Vec::new();
    for (file, user) in [(USER, "KafkaUser/taskcast:"), (CONSUMER, "KafkaUser/consumer:")] {
        for (acl, what) in &cases {
            append(&copy, file, &format!("      - {acl}\n"));
            expected.push((user.to_owned(), format!("may {what}")));
        }
    }
    assert_all_found(&copy, &expected);
}

#[test]
fn a_right_in_kafka_that_is_missing_and_a_user_of_nobodys_are_found() {
    let group = "          type: group\n          name: consumer\n";
    let parts = ["KafkaUser/consumer:", "may not Read group consumer,"];
    assert_mistake(CONSUMER, group, &group.replace("consumer", "consumers"), &parts);
    let parts = ["KafkaUser/taskcast:", "may not Describe topic task-events,"];
    assert_mistake(USER, "          - Describe\n          - Write\n", "          - Write\n", &parts);
    let user =
        fs::read_to_string(Copy::new().root.join(USER)).unwrap().replace("name: taskcast\n", "name: other\n");
    let copy = Copy::new();
    append(&copy, USER, &format!("---\n{user}"));
    let Verdict { right, text } = copy.check();
    assert!(right, "a copy of a user while its password changes: {text}");
    append(&copy, USER, "      - {resource: {type: cluster}, operations: [All]}\n");
    assert_found(&copy, &["KafkaUser/other:", "no sidecar's user"]);
}
