//! The topics of the code, and no others: in Kafka, in its users' rights, in what sidecars may publish and read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use stack::resources::PUBSUB;
use stack::topics::TOPICS;

use super::Manifests;
use super::built::{Object, Target};
use super::findings::Findings;
use super::json::{list, text, texts};
use super::spin_app::SpinApp;

const SOURCE: &str = "dev/stack/src/topics.rs";
/// The setting of a component that says which user of Kafka's its sidecars are.
const USER: &str = "saslUsername";
/// In any setting of a component, it makes Dapr prefix topics.
const NAMESPACE: &str = "{namespace}";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    for path in ["kafka/production", "kafka/local"] {
        if let Some(target) = manifests.kustomization(path, findings) {
            check_topics(target, findings);
        }
    }
    if manifests.spin.variables.get("pubsub_name").is_none_or(|variable| variable.default != PUBSUB) {
        findings.add(
            "spin.toml",
            format!("pubsub_name must be {PUBSUB} by default (dev/stack/src/resources.rs)"),
        );
    }
    for target in manifests.overlays() {
        check_publishers(target, findings);
    }
    check_users(manifests, findings);
    for target in &manifests.built.targets {
        for pubsub in pubsubs(target) {
            check_pubsub(pubsub, findings);
        }
        for subscription in target.of_kind("Subscription") {
            check_subscription(target, subscription, findings);
        }
    }
}

fn pubsubs(target: &Target) -> impl Iterator<Item = &Object> {
    target
        .of_kind("Component")
        .filter(|component| text(&component.value, "/spec/type").starts_with("pubsub."))
}

fn check_topics(target: &Target, findings: &mut Findings) {
    let found: BTreeSet<&str> = target.of_kind("KafkaTopic").map(Object::name).collect();
    for topic in TOPICS.iter().filter(|topic| !found.contains(*topic)) {
        findings.add(
            &target.path,
            format!("has no KafkaTopic/{topic}, to which the app publishes ({SOURCE}): add it"),
        );
    }
    for topic in target.of_kind("KafkaTopic").filter(|topic| !TOPICS.contains(&topic.name())) {
        topic.wrong(
            format!("the app publishes to no such topic ({SOURCE}): mend its name, or remove it"),
            findings,
        );
    }
}

/// Every app of an overlay publishes to all topics and reads none.
fn check_publishers(target: &Target, findings: &mut Findings) {
    let apps: BTreeSet<&str> = SpinApp::all_in(target).map(|app| app.name()).collect();
    for app in SpinApp::all_in(target) {
        if app.value("pubsub_name").is_some_and(|name| name != PUBSUB) {
            app.object
                .wrong(format!("publishes to another component than {PUBSUB}: mend pubsub_name"), findings);
        }
    }
    let Some(pubsub) = target.object("Component", PUBSUB) else {
        return findings
            .add(&target.path, format!("has no Component/{PUBSUB}, to which the app publishes: add it"));
    };
    if BTreeSet::from_iter(texts(&pubsub.value, "/scopes")) != apps {
        pubsub.wrong(format!("must be for {apps:?} and nobody else: mend its scopes"), findings);
    }
    if !same(pubsub.metadata("protectedTopics").split(',')) {
        pubsub.wrong(format!("protectedTopics must be {}", TOPICS.join(",")), findings);
    }
    let (publishing, subscribing) =
        (scopes(pubsub, "publishingScopes"), scopes(pubsub, "subscriptionScopes"));
    for app in apps {
        if !publishing.get(app).is_some_and(|topics| same(topics.iter().copied())) {
            pubsub
                .wrong(format!("publishingScopes must let {app} publish to {}", TOPICS.join(",")), findings);
        }
        if subscribing.get(app).is_some_and(|topics| !topics.is_empty()) {
            pubsub.wrong(
                format!("subscriptionScopes lets {app} read, but it reads nothing: write {app}="),
                findings,
            );
        }
    }
}

/// What holds for a consumer's, too.
fn check_pubsub(pubsub: &Object, findings: &mut Findings) {
    if pubsub.name() != PUBSUB {
        pubsub.wrong(format!("must be called {PUBSUB}, as the app and its consumers call it"), findings);
    }
    for entry in list(&pubsub.value, "/spec/metadata") {
        if text(entry, "/value").contains(NAMESPACE) {
            let what = format!(
                "{} has {NAMESPACE}, with which Dapr puts the namespace before the topics of single publishes and of \
                 subscriptions, but not of bulk publishes (dapr/dapr#9606): write the namespace itself",
                text(entry, "/name")
            );
            pubsub.wrong(what, findings);
        }
    }
    if !same(pubsub.metadata("allowedTopics").split(',')) {
        pubsub.wrong(format!("allowedTopics must be {} ({SOURCE})", TOPICS.join(",")), findings);
    }
    for name in ["publishingScopes", "subscriptionScopes"] {
        let scopes = scopes(pubsub, name);
        for app in texts(&pubsub.value, "/scopes") {
            match scopes.get(app) {
                // Dapr allows whom it is not told about everything.
                None => pubsub.wrong(
                    format!("{name} does not name {app}, which may then use every topic: add it"),
                    findings,
                ),
                Some(topics) => {
                    for topic in topics.iter().filter(|topic| !TOPICS.contains(topic)) {
                        pubsub.wrong(
                            format!("{name} has the topic {topic}, which does not exist ({SOURCE})"),
                            findings,
                        );
                    }
                }
            }
        }
    }
}

/// The users that sidecars are to Kafka have the rights that their scopes need, and no other.
fn check_users(manifests: &Manifests<'_>, findings: &mut Findings) {
    let targets = &manifests.built.targets;
    let users: Vec<&Object> = targets.iter().flat_map(|target| target.of_kind("KafkaUser")).collect();
    let named = |pubsub: &&Object| !pubsub.metadata(USER).is_empty();
    let pubsubs: Vec<&Object> = targets.iter().flat_map(pubsubs).filter(named).collect();
    for pubsub in &pubsubs {
        let name = pubsub.metadata(USER);
        if !users.iter().any(|user| user.name() == name) {
            pubsub.wrong(format!("is Kafka's user {name}, of whom there is no KafkaUser: add it"), findings);
        }
    }
    for user in users {
        let granted = granted(user);
        let own = pubsubs.iter().filter(|pubsub| pubsub.metadata(USER) == user.name());
        for needed in own.clone().map(|pubsub| needed(pubsub)) {
            for right in granted.difference(&needed) {
                user.wrong(
                    format!("may {right}, which its sidecars need not: remove it from its acls"),
                    findings,
                );
            }
            for right in needed.difference(&granted) {
                user.wrong(format!("may not {right}, which its sidecars need: add it to its acls"), findings);
            }
        }
        // Two of them while a password changes (docs/operations.md).
        if own.count() == 0 && !pubsubs.iter().any(|pubsub| needed(pubsub) == granted) {
            user.wrong("is no sidecar's user, nor a copy of one's: remove it", findings);
        }
    }
}

/// A producer that is not idempotent, as Dapr's is, writes and describes its topics, and needs nothing of the cluster; a consumer
/// reads them and commits for its group (Kafka's documentation, Authorization and ACLs).
fn needed(pubsub: &Object) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, operation) in [("publishingScopes", "Write"), ("subscriptionScopes", "Read")] {
        for (app, topics) in scopes(pubsub, name) {
            all.extend(topics.iter().flat_map(|topic| {
                [operation, "Describe"].map(|operation| format!("{operation} topic {topic}"))
            }));
            if operation == "Read" && !topics.is_empty() {
                // Dapr's name of its consumer group.
                all.insert(format!("Read group {app}"));
            }
        }
    }
    all
}

/// Whatever is not for just one name is left as it is written, and nobody needs it.
fn granted(user: &Object) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for acl in list(&user.value, "/spec/authorization/acls") {
        let (kind, name) = (text(acl, "/resource/type"), text(acl, "/resource/name"));
        let operations = acl.get("operations");
        let literal = json!({"type": kind, "name": name, "patternType": "literal"});
        let plain = *acl == json!({"resource": literal, "operations": operations});
        let what = if plain { format!("{kind} {name}") } else { acl.to_string() };
        all.extend(texts(acl, "/operations").iter().map(|operation| format!("{operation} {what}")));
    }
    all
}

fn check_subscription(target: &Target, subscription: &Object, findings: &mut Findings) {
    let (pubsub, topic) =
        (text(&subscription.value, "/spec/pubsubname"), text(&subscription.value, "/spec/topic"));
    if !TOPICS.contains(&topic) {
        subscription.wrong(format!("is for the topic {topic}, which does not exist ({SOURCE})"), findings);
    }
    let Some(pubsub) = target.object("Component", pubsub) else {
        return subscription
            .wrong(format!("is for the component {pubsub}, which is not there: mend pubsubname"), findings);
    };
    let readers = scopes(pubsub, "subscriptionScopes");
    for app in texts(&subscription.value, "/scopes") {
        if !readers.get(app).is_some_and(|topics| topics.contains(&topic)) {
            subscription.wrong(
                format!("is for {app}, but subscriptionScopes of {PUBSUB} does not let it: mend one"),
                findings,
            );
        }
    }
}

/// `app=topic,topic;other=`, as Dapr reads it.
fn scopes<'a>(component: &'a Object, name: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
    let entries = component.metadata(name).split(';').filter_map(|entry| entry.split_once('='));
    let topics =
        |topics: &'a str| topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()).collect();
    entries.map(|(app, names)| (app.trim(), topics(names))).collect()
}

fn same<'a>(topics: impl Iterator<Item = &'a str>) -> bool {
    topics.map(str::trim).collect::<BTreeSet<_>>() == BTreeSet::from(TOPICS)
}
