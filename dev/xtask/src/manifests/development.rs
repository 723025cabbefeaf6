//! What the tests run on is what production runs on: the same ticks, time-outs and subscriptions, apart from their scopes.

use serde_json::Value;
use stack::resources::PUBSUB;

use super::Manifests;
use super::built::{Object, Target};
use super::findings::Findings;

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    let consumer = manifests.kustomization("samples/consumer", findings);
    for object in &manifests.built.development {
        let targets: Vec<&Target> = match object.kind() {
            "Subscription" => consumer.into_iter().collect(),
            // The brokers differ everywhere.
            "Component" if object.name() == PUBSUB => continue,
            _ => manifests.overlays().collect(),
        };
        for target in targets {
            compare(object, target, findings);
        }
    }
}

fn compare(development: &Object, target: &Target, findings: &mut Findings) {
    let (kind, name) = (development.kind(), development.name());
    let Some(object) = target.object(kind, name) else {
        return findings
            .add(&target.path, format!("has no {kind}/{name}, unlike dev/stack/src/resources.rs: add it"));
    };
    let spec = |object: &Object| object.value.get("spec").cloned().unwrap_or_default();
    if let Some(place) = difference(&spec(development), &spec(object), "spec") {
        let what = format!(
            "{place} differs from dev/stack/src/resources.rs, which the tests run on: change both or none"
        );
        object.wrong(what, findings);
    }
}

/// Where two values first differ.
fn difference(one: &Value, other: &Value, place: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
            names.find_map(|name| {
                let (one, other) =
                    (one.get(name).unwrap_or(&Value::Null), other.get(name).unwrap_or(&Value::Null));
                difference(one, other, &format!("{place}.{name}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(index, (one, other))| difference(one, other, &format!("{place}[{index}]")))
        }
        _ => (one != other).then(|| place.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_place_of_a_difference_is_named() {
        let one = json!({"a": [{"b": 1}], "c": 2});
        assert_eq!(difference(&one, &one, "spec"), None);
        assert_eq!(difference(&one, &json!({"a": [{"b": 2}], "c": 2}), "spec").unwrap(), "spec.a[0].b");
        assert_eq!(difference(&one, &json!({"a": [{"b": 1}]}), "spec").unwrap(), "spec.c");
        assert_eq!(difference(&one, &json!({"a": [{"b": 1}], "c": 2, "d": 3}), "spec").unwrap(), "spec.d");
        assert_eq!(difference(&one, &json!({"a": [], "c": 2}), "spec").unwrap(), "spec.a");
    }
}
