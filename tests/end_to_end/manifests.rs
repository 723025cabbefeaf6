//! `cargo xtask manifests`: those of the repository are right, and each kind of mistake is found and named.

mod excess;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::environment::{directory, required, root};

/// What the command reads, apart from programs.
const READ: [&str; 8] = [
    ".github",
    "deploy",
    "docs/operations.md",
    "examples/consumer/kustomization.yaml",
    "examples/consumer/subscription.yaml",
    "migrations",
    "runtime-config.toml",
    "spin.toml",
];

/// A copy of the repository to make mistakes in.
struct Copy {
    root: PathBuf,
}

/// What the command printed.
struct Verdict {
    right: bool,
    text: String,
}

impl Copy {
    fn new() -> Self {
        let parent = directory("manifests");
        let copy = parent.join("clone");
        fs::create_dir_all(copy.join("dev/xtask")).unwrap();
        for path in READ {
            copy_all(&root().join(path), &copy.join(path));
        }
        for path in ["dev/manifests", "dev/daprd"] {
            symlink(root().join(path), copy.join(path)).unwrap();
        }
        if let Some(definitions) = spinkube_definitions() {
            fs::create_dir(parent.join("shared")).unwrap();
            symlink(definitions, parent.join("shared/crds")).unwrap();
        }
        Self { root: copy }
    }

    /// Makes a mistake: replaces a text that is there once or more, the first time.
    #[track_caller]
    fn with(self, file: &str, right: &str, wrong: &str) -> Self {
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(right), "{right:?} is not in {file}");
        fs::write(path, text.replacen(right, wrong, 1)).unwrap();
        self
    }

    fn check(&self) -> Verdict {
        let mut command = Command::new(required("TASKCAST_TEST_XTASK"));
        let output = command.arg("manifests").current_dir(&self.root).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{text}");
        assert!(text.contains("checked by Kubernetes' types:"), "nothing was checked: {text}");
        Verdict { right: output.status.success(), text }
    }
}

/// One line must say all of this.
#[track_caller]
fn assert_found(copy: &Copy, parts: &[&str]) {
    let Verdict { right, text } = copy.check();
    assert!(!right, "the mistake was not noticed: {text}");
    assert!(text.contains("in the manifests"), "{text}");
    let said = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(said, "no line says {parts:?}: {text}");
}

/// A mistake that is a text in place of another.
#[track_caller]
fn assert_mistake(file: &str, right: &str, wrong: &str, parts: &[&str]) {
    assert_found(&Copy::new().with(file, right, wrong), parts);
}

fn spinkube_definitions() -> Option<PathBuf> {
    Some(root().join("../shared/crds")).filter(|directory| directory.is_dir())
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy_all(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn those_of_the_repository_are_right() {
    let Verdict { right, text } = Copy::new().check();
    assert!(right, "{text}");
    for checked in
        ["dapr.io: ", "the Gateway API's types: HTTPRoute", "ScaledObject", "KafkaTopic 6", "SpinApp "]
    {
        assert!(text.contains(checked), "{checked:?} is not in: {text}");
    }
}

#[test]
fn an_unknown_field_of_a_built_in_kind_is_found() {
    assert_mistake(
        "deploy/base/scaling.yaml",
        "maxUnavailable:",
        "maxUnavailible:",
        &["overlays/local, deploy/overlays/production: PodDisruptionBudget/taskcast:", "spec.maxUnavailible"],
    );
    assert_mistake(
        "deploy/postgres/migrate/job.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFileSystem: true",
        &["deploy/postgres/migrate: Job/taskcast-migrate:", "readOnlyRootFileSystem"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_found() {
    let parts = ["Job/taskcast-migrate:", "backoffLimit"];
    assert_mistake("deploy/postgres/migrate/job.yaml", "backoffLimit: 5", "backoffLimit: five", &parts);
}

#[test]
fn an_unknown_field_of_a_dapr_kind_is_found() {
    let file = "deploy/base/dapr.yaml";
    assert_mistake(file, "trip: c", "tripp: c", &["Resiliency/publishing:", "circuitBreakers.broker.tripp"]);
    assert_mistake(
        file,
        "defaultAction:",
        "default:",
        &["Configuration/taskcast:", "spec.accessControl.default"],
    );
    assert_mistake(
        "examples/consumer/subscription.yaml",
        "pubsubname:",
        "pubsubName:",
        &["deploy/samples/consumer: Subscription/task-events:", "spec.pubsubName"],
    );
}

#[test]
fn an_annotation_that_dapr_does_not_know_is_found() {
    let parts = ["SpinApp/taskcast:", "dapr.io/block-shutdown-seconds"];
    assert_mistake(
        "deploy/base/api.yaml",
        "dapr.io/block-shutdown-duration",
        "dapr.io/block-shutdown-seconds",
        &parts,
    );
}

#[test]
fn an_unknown_field_of_a_spin_app_is_found_or_it_is_said_that_they_are_not_checked() {
    let copy = Copy::new().with("deploy/base/api.yaml", "  executor:", "  executer: a\n  executor:");
    if spinkube_definitions().is_some() {
        assert_found(&copy, &["SpinApp/taskcast:", "spec.executer"]);
    } else {
        let text = copy.check().text;
        let said = text
            .lines()
            .any(|line| line.contains("no definitions of core.spinkube.dev") && line.contains("SpinApp"));
        assert!(said, "{text}");
    }
}

#[test]
fn without_spinkubes_definitions_it_is_said_that_spin_apps_are_not_checked() {
    let copy = Copy::new();
    // Not there where there are none to begin with.
    let _ = fs::remove_file(copy.root.join("../shared/crds"));
    let Verdict { right, text } = copy.check();
    assert!(right, "{text}");
    let said = text
        .lines()
        .any(|line| line.contains("no definitions of core.spinkube.dev") && line.contains("SpinApp"));
    assert!(said, "{text}");
}

#[test]
fn an_unknown_field_of_strimzis_and_kedas_kinds_is_found() {
    let parts = ["KafkaTopic/task-events:", "spec.partition\""];
    assert_mistake(
        "deploy/kafka/topics/topics.yaml",
        "partitions: 12",
        "partitions: 12\n  partition: 1",
        &parts,
    );
    let parts =
        ["overlays/production+deploy/components/keda: ScaledObject/taskcast-relay:", "spec.pollInterval"];
    assert_mistake("deploy/components/keda/scaled-object.yaml", "pollingInterval:", "pollInterval:", &parts);
}

#[test]
fn a_kind_that_does_not_exist_is_found() {
    let parts = ["HTTPRoute in gateway.networking.k8s.io/v1alpha9"];
    assert_mistake("deploy/base/route.yaml", "k8s.io/v1\n", "k8s.io/v1alpha9\n", &parts);
}

#[test]
fn a_key_that_is_there_twice_is_found() {
    let parts = ["deploy/base/relay.yaml:", "replicas"];
    assert_mistake("deploy/base/relay.yaml", "  replicas: 2", "  replicas: 2\n  replicas: 3", &parts);
}

#[test]
fn a_patch_that_applies_to_nothing_is_found() {
    let parts = ["deploy/overlays/local:", "NetworkPolicy/to-kafca"];
    assert_mistake("deploy/overlays/local/kustomization.yaml", "name: to-kafka", "name: to-kafca", &parts);
}

#[test]
fn nothing_is_fetched() {
    let copy =
        Copy::new().with("deploy/pods/kustomization.yaml", "- api.yaml", "- https://example.com/api.yaml");
    assert_found(&copy, &["deploy/pods:", "https://example.com/api.yaml"]);
}

#[test]
fn a_file_that_nobody_applies_is_found() {
    let copy = Copy::new();
    fs::copy(copy.root.join("deploy/base/route.yaml"), copy.root.join("deploy/base/forgotten.yaml")).unwrap();
    assert_found(&copy, &["deploy/base/forgotten.yaml:", "no kustomization"]);
}

#[test]
fn a_variable_that_is_not_set_is_found() {
    let file = "deploy/base/api.yaml";
    let parts = ["SpinApp/taskcast:", "does not set database_url"];
    assert_mistake(file, "- name: database_url", "- name: database_uri", &parts);
    let parts = ["SpinApp/taskcast:", "sets database_uri", "spin.toml"];
    assert_mistake(file, "- name: database_url", "- name: database_uri", &parts);
    let parts = ["SpinApp/taskcast-relay:", "does not set app_api_token"];
    assert_mistake("deploy/base/relay.yaml", "- name: app_api_token", "- name: cors_origins", &parts);
}

#[test]
fn a_new_required_variable_of_spin_toml_is_missed() {
    let parts = ["SpinApp/taskcast-relay:", "does not set mail_host"];
    assert_mistake("spin.toml", "[variables]\n", "[variables]\nmail_host = { required = true }\n", &parts);
}

#[test]
fn a_secret_in_the_manifest_is_found_without_being_repeated() {
    let secret = "value: \"0123456789abcdef0123456789abcdef\"";
    let right = "valueFrom:\n        secretKeyRef:\n          name: taskcast-jwt\n          key: secret";
    let copy = Copy::new().with("deploy/base/api.yaml", right, secret);
    assert_found(&copy, &["SpinApp/taskcast:", "the secret jwt_secret"]);
    assert!(!copy.check().text.contains("0123456789abcdef"));
}

#[test]
fn a_placeholder_that_would_be_a_secret_is_found() {
    let parts = ["SpinApp/taskcast-relay:", "jwt_secret"];
    let placeholder = "value: the relay checks no tokens of users";
    assert_mistake("deploy/base/relay.yaml", "value: unused", placeholder, &parts);
}

#[test]
fn a_setting_that_is_not_there_is_found() {
    let parts = ["SpinApp/taskcast:", "cors_origins", "ConfigMap/taskcast-settings"];
    assert_mistake("deploy/base/api.yaml", "key: cors_origins", "key: cors_origin", &parts);
    let parts = ["SpinApp/taskcast:", "api_docs", "ConfigMap/taskcast-settings"];
    assert_mistake("deploy/base/kustomization.yaml", "- api_docs=true", "- api_doc=true", &parts);
}

#[test]
fn a_component_that_nobody_runs_or_that_two_run_is_found() {
    let file = "deploy/base/api.yaml";
    assert_mistake(file, "    - uncomplete\n", "", &["no SpinApp runs the component uncomplete"]);
    assert_mistake(file, "    - uncomplete\n", "    - incomplete\n", &["SpinApp/taskcast:", "incomplete"]);
    assert_mistake(
        file,
        "    - uncomplete\n",
        "    - uncomplete\n    - relay\n",
        &["SpinApp/taskcast:", "/internal"],
    );
    let parts = ["SpinApp/taskcast-relay:", "runs health", "SpinApp/taskcast "];
    assert_mistake("deploy/base/relay.yaml", "    - relay\n", "    - relay\n    - health\n", &parts);
}

#[test]
fn a_wrong_topic_is_found_wherever_it_is() {
    let topics = "deploy/kafka/topics/topics.yaml";
    assert_mistake(
        topics,
        "name: reminders",
        "name: reminder",
        &["deploy/kafka/local", "no KafkaTopic/reminders"],
    );
    assert_mistake(topics, "name: reminders", "name: reminder", &["KafkaTopic/reminder:", "no such topic"]);
    let user = "deploy/kafka/production/user.yaml";
    assert_mistake(
        user,
        "name: reminders",
        "name: reminder",
        &["KafkaUser/taskcast:", "may Write topic reminder,"],
    );
    assert_mistake(user, "- Write", "- Read", &["KafkaUser/taskcast:", "may not Write topic task-events,"]);
    let pubsub = "deploy/overlays/production/pubsub.yaml";
    let parts = ["deploy/overlays/production: Component/pubsub-kafka:", "allowedTopics"];
    assert_mistake(
        pubsub,
        "value: task-events,task-updates,reminders",
        "value: task-events,task-updates",
        &parts,
    );
    let parts = ["Component/pubsub-kafka:", "publishingScopes", "taskcast-relay"];
    assert_mistake(pubsub, "taskcast-relay=task-events,", "taskcast-relay=task-event,", &parts);
    let subscription = "examples/consumer/subscription.yaml";
    assert_mistake(
        subscription,
        "topic: reminders",
        "topic: reminder",
        &["Subscription/reminders:", "topic reminder,"],
    );
}

/// dapr/dapr#9606: single publishes would go to other topics than bulk ones.
#[test]
fn a_component_whose_topics_dapr_would_prefix_is_found() {
    for (file, target, name) in [
        ("deploy/overlays/production/pubsub.yaml", "deploy/overlays/production", "clientID"),
        ("deploy/samples/consumer/pubsub.yaml", "deploy/samples/consumer", "consumerID"),
    ] {
        let right = "metadata:\n    - name: brokers";
        let wrong =
            format!("metadata:\n    - name: {name}\n      value: \"{{namespace}}-app\"\n    - name: brokers");
        let said = format!("{target}: Component/pubsub-kafka: {name} has {{namespace}}");
        assert_mistake(file, right, &wrong, &[&said, "#9606"]);
    }
}

#[test]
fn another_name_of_the_component_is_found() {
    let parts = ["SpinApp/taskcast:", "pubsub_name"];
    assert_mistake("deploy/base/api.yaml", "value: pubsub-kafka", "value: pubsub", &parts);
    let parts = ["deploy/overlays/production:", "no Component/pubsub-kafka"];
    assert_mistake("deploy/overlays/production/pubsub.yaml", "name: pubsub-kafka", "name: pubsub", &parts);
}

#[test]
fn a_version_that_can_change_is_found() {
    let overlay = "deploy/overlays/production/kustomization.yaml";
    let parts = ["deploy/overlays/production: SpinApp/taskcast:", "taskcast:latest", "version or a digest"];
    assert_mistake(overlay, "newTag: 0.1.0", "newTag: latest", &parts);
    assert_mistake(
        overlay,
        "newTag: 0.1.0",
        "newTag: 0.2.0",
        &["SpinApp/taskcast:", "spin.toml is version 0.1.0"],
    );
    let parts = ["StatefulSet/postgres:", "docker.io/library/postgres,"];
    assert_mistake("deploy/postgres/local/postgres.yaml", "postgres:17.6-bookworm", "postgres", &parts);
    let commit = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1";
    let parts = [".github/workflows/ci.yml:", "actions/checkout@v7.0.1", "name the commit"];
    assert_mistake(".github/workflows/ci.yml", commit, "actions/checkout@v7.0.1", &parts);
}

#[test]
fn a_wrong_port_is_found_wherever_it_is() {
    let api = "deploy/base/api.yaml";
    assert_mistake(api, "app-port: \"80\"", "app-port: \"8080\"", &["SpinApp/taskcast:", "dapr.io/app-port"]);
    assert_mistake(api, "localhost:3500", "localhost:3501", &["SpinApp/taskcast:", "dapr_url"]);
    assert_mistake("deploy/base/route.yaml", "port: 80", "port: 8080", &["HTTPRoute/taskcast:", "port"]);
    let policies = "deploy/base/network-policies.yaml";
    assert_mistake(
        policies,
        "port: 80\n",
        "port: 8080\n",
        &["SpinApp/taskcast:", "no NetworkPolicy lets it in from namespace gateway, TCP 80 (requests)"],
    );
    assert_mistake(policies, "port: 9093", "port: 9094", &["SpinApp/taskcast:", "kafka.svc:9093"]);
    assert_mistake(
        policies,
        "port: 5432",
        "port: 5433",
        &["SpinApp/taskcast:", "postgres.svc.cluster.local:5432"],
    );
    assert_mistake(policies, "port: 5432", "port: 5433", &["Job/taskcast-migrate:", ":5432"]);
    let overlay = "deploy/overlays/production/kustomization.yaml";
    assert_mistake(overlay, "cluster.local:5432", "cluster.local:6432", &["SpinApp/taskcast:", ":6432"]);
}

#[test]
fn a_way_that_should_be_closed_is_found() {
    // Who reads metrics may call the relay, and nobody else.
    let policies = "deploy/components/metrics/network-policy.yaml";
    let relay = "app-name: taskcast-relay\n  policyTypes:\n    - Ingress\n  ingress:\n    - from:\n        - namespaceSelector:\n            \
        matchLabels:\n              kubernetes.io/metadata.name: monitoring";
    let anybody = relay.replace("monitoring", "default");
    assert_mistake(
        policies,
        relay,
        &anybody,
        &["NetworkPolicy/monitoring-to-relay:", "taskcast-relay in from namespace default, TCP 80,"],
    );
    let policies = "deploy/base/network-policies.yaml";
    let parts = ["NetworkPolicy/gateway-to-api:", "taskcast-relay"];
    assert_mistake(
        policies,
        "core.spinkube.dev/app-name: taskcast\n",
        "app.kubernetes.io/part-of: taskcast\n",
        &parts,
    );
    let parts = ["no NetworkPolicy that forbids every pod everything"];
    assert_mistake(policies, "  podSelector: {}\n", "  podSelector:\n    matchLabels:\n      a: b\n", &parts);
    assert_mistake(
        "deploy/base/route.yaml",
        "value: /api/v1",
        "value: /",
        &["HTTPRoute/taskcast:", "more than /api/v1"],
    );
    let parts = ["HTTPRoute/taskcast:", "does not lead to /api/docs"];
    assert_mistake("deploy/base/route.yaml", "value: /api/docs", "value: /api/docs/page.js", &parts);
    let parts = ["Component/relay:", "/internal/relays"];
    assert_mistake("deploy/base/dapr.yaml", "value: /internal/relay", "value: /internal/relays", &parts);
}

#[test]
fn a_secret_that_nobody_explains_is_found() {
    let parts = [
        "SpinApp/taskcast:",
        "the key secret of the Secret taskcast-token in taskcast",
        "docs/operations.md",
    ];
    assert_mistake("deploy/base/api.yaml", "name: taskcast-jwt", "name: taskcast-token", &parts);
    let parts = ["docs/operations.md:", "taskcast-jwt", "nothing reads"];
    assert_mistake("deploy/base/api.yaml", "name: taskcast-jwt", "name: taskcast-token", &parts);
    let parts = ["the key token of the Secret taskcast-app-token in taskcast"];
    assert_mistake(
        "deploy/base/relay.yaml",
        "app-token-secret: taskcast-app-api-token",
        "app-token-secret: taskcast-app-token",
        &parts,
    );
}

#[test]
fn what_differs_from_development_is_found() {
    let parts = ["Resiliency/publishing:", "spec.policies.timeouts.publish", "dev/stack/src/resources.rs"];
    assert_mistake("deploy/base/dapr.yaml", "publish: 2s", "publish: 5s", &parts);
    let parts = ["Component/relay:", "spec.metadata[0].value"];
    assert_mistake("deploy/base/dapr.yaml", "@every 2s", "@every 20s", &parts);
    let parts = ["deploy/base/runtime-config.toml:", "./runtime-config.toml"];
    assert_mistake(
        "deploy/base/runtime-config.toml",
        "connection_pooling = true",
        "connection_pooling = false",
        &parts,
    );
}

#[test]
fn a_job_that_does_not_migrate_as_xtask_does_is_found() {
    let parts = ["migrations/kustomization.yaml:", "0007_reads.sql"];
    assert_mistake("migrations/kustomization.yaml", "      - 0007_reads.sql\n", "", &parts);
    let script = "deploy/postgres/migrate/migrate.sh";
    assert_mistake(script, "pg_advisory_lock(", "pg_advisory_lock(1", &["migrate.sh:", "the lock"]);
    assert_mistake(
        script,
        "checksum text not null,",
        "checksum bytea not null,",
        &["migrate.sh:", "schema_migrations"],
    );
}

#[test]
fn a_pod_that_ends_too_early_is_found() {
    let parts = ["SpinApp/taskcast:", "before preStop ends (12 s)"];
    assert_mistake(
        "deploy/base/api.yaml",
        "block-shutdown-duration: 15s",
        "block-shutdown-duration: 10s",
        &parts,
    );
    let parts = ["deploy/pods: Deployment/taskcast-relay:", "is killed after 25 s"];
    assert_mistake(
        "deploy/pods/relay.yaml",
        "terminationGracePeriodSeconds: 45",
        "terminationGracePeriodSeconds: 25",
        &parts,
    );
}

#[test]
fn an_autoscaler_and_a_budget_of_nothing_are_found() {
    let scaling = "deploy/base/scaling.yaml";
    let target = "kind: Deployment\n    name: taskcast\n";
    let wrong = "kind: Deployment\n    name: taskcasts\n";
    assert_mistake(scaling, target, wrong, &["HorizontalPodAutoscaler/taskcast:", "taskcasts"]);
    let parts = ["PodDisruptionBudget/taskcast-relay:", "taskcast-relays"];
    assert_mistake(scaling, "app-name: taskcast-relay", "app-name: taskcast-relays", &parts);
}
