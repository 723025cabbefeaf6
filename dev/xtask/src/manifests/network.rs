//! Who may connect to whom: what all NetworkPolicies together let in and out of a pod is what [`WAYS`] and the settings say, no
//! more and no less.

mod policy;

use std::collections::BTreeMap;

use policy::{check_types, denies_everything, matches, ways};

use super::Manifests;
use super::apps::INTERNAL;
use super::built::{Object, Target};
use super::findings::Findings;
use super::json::{entries, named_texts, text, texts};
use super::spin_app::SpinApp;

type Labels = BTreeMap<String, String>;

const SOURCE: &str = "dev/xtask/src/manifests/network.rs";
/// Addresses that are not of this cluster: a subnet's at most.
const OUTSIDE: &str = "addresses outside";

/// Whose a way is.
enum Whose {
    /// Every pod's, the migrations' included.
    All,
    /// Every SpinApp's.
    Apps,
    /// The SpinApp's that answers requests.
    Api,
    /// Every SpinApp's, in an overlay with the component `metrics`.
    Monitored,
    /// The relay's, in an overlay with the component `metrics`.
    MonitoredRelay,
}

/// The ways that no setting names, and what they are for. Ports are those of pods.
const WAYS: [(Whose, &str, &str); 9] = [
    (Whose::Api, "in from namespace gateway, TCP 80", "requests"),
    (Whose::Monitored, "in from namespace monitoring, TCP 9090", "the sidecar's metrics"),
    (Whose::MonitoredRelay, "in from namespace monitoring, TCP 80", "/internal/metrics"),
    (Whose::All, "out to kube-dns in namespace kube-system, UDP 53", "DNS"),
    (Whose::All, "out to kube-dns in namespace kube-system, TCP 53", "DNS"),
    (Whose::Apps, "out to namespace dapr-system, TCP 50001", "sentry"),
    (Whose::Apps, "out to namespace dapr-system, TCP 6500", "Dapr's operator"),
    (Whose::Apps, "out to namespace dapr-system, TCP 50005", "placement"),
    (Whose::Apps, "out to namespace dapr-system, TCP 50006", "the scheduler"),
];

/// Pods, and the ways that they need, with what each is for.
struct Workload<'a> {
    object: &'a Object,
    labels: Labels,
    ways: BTreeMap<String, String>,
}

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    let migrations = manifests.kustomization("postgres/migrate", findings);
    for target in manifests.overlays() {
        let policies = policies(manifests, target);
        let jobs = migrations.into_iter().flat_map(|target| target.of_kind("Job"));
        let apps = SpinApp::all_in(target).map(|app| of_app(manifests, &app));
        let workloads: Vec<Workload<'_>> = apps.chain(jobs.map(|job| of_job(target, job))).collect();
        for workload in &workloads {
            if !policies.iter().any(|policy| denies_everything(policy) && workload.is_selected_by(policy)) {
                let what =
                    "has no NetworkPolicy that forbids every pod everything: what no policy selects is open";
                findings.add(&target.path, what);
            }
            check_ways(&policies, workload, findings);
        }
        for policy in target.of_kind("NetworkPolicy") {
            if !workloads.iter().any(|workload| workload.is_selected_by(policy)) {
                policy.wrong(
                    "selects no pods that are known here: mend its podSelector, or remove it",
                    findings,
                );
            }
            check_types(policy, findings);
        }
    }
}

/// Those of the overlay, and what is applied beside it.
fn policies<'a>(manifests: &'a Manifests<'_>, target: &Target) -> Vec<&'a Object> {
    let overlays: Vec<&str> = manifests.overlays().map(|overlay| overlay.path.as_str()).collect();
    let targets = manifests.built.targets.iter();
    let applied =
        targets.filter(|other| other.path == target.path || !overlays.contains(&other.path.as_str()));
    applied.flat_map(|target| target.of_kind("NetworkPolicy")).collect()
}

fn of_app<'a>(manifests: &Manifests<'_>, app: &SpinApp<'a>) -> Workload<'a> {
    let routes = manifests.spin.routes_of(&app.components());
    let relay = routes.iter().any(|route| route.starts_with(INTERNAL));
    let monitored = app.target.uses(&format!("{}/components/metrics", manifests.directory));
    let fixed = fixed_ways(|whose| match whose {
        Whose::All | Whose::Apps => true,
        Whose::Api => !relay,
        Whose::Monitored => monitored,
        Whose::MonitoredRelay => monitored && relay,
    });
    let ways = fixed.chain(addresses(manifests, app).iter().filter_map(way_to)).collect();
    Workload { object: app.object, labels: app.labels(), ways }
}

/// The migrations' Job goes to the database that the apps of the overlay go to.
fn of_job<'a>(target: &Target, job: &'a Object) -> Workload<'a> {
    let databases: Vec<_> = SpinApp::all_in(target).filter_map(|app| database(&app)).collect();
    let fixed = fixed_ways(|whose| matches!(whose, Whose::All));
    let ways = fixed.chain(databases.iter().filter_map(way_to)).collect();
    Workload { object: job, labels: named_texts(&job.value, "/spec/template/metadata/labels"), ways }
}

fn fixed_ways(has: impl Fn(&Whose) -> bool) -> impl Iterator<Item = (String, String)> {
    let own = WAYS.iter().filter(move |(whose, ..)| has(whose));
    own.map(|(_, way, what)| ((*way).to_owned(), (*what).to_owned()))
}

/// What an app, its sidecar and Spin connect to by their settings: the setting, and `host:port`.
fn addresses<'a>(manifests: &'a Manifests<'_>, app: &SpinApp<'a>) -> Vec<(&'static str, &'a str)> {
    let mut all: Vec<_> = database(app).into_iter().collect();
    for component in app.target.of_kind("Component") {
        if texts(&component.value, "/scopes").contains(&app.name()) {
            all.extend(component.metadata("brokers").split(',').map(|host| ("brokers", host)));
        }
    }
    if let Some(configuration) = app.target.object("Configuration", app.annotation("dapr.io/config")) {
        let collector = text(&configuration.value, "/spec/tracing/otel/endpointAddress");
        all.push(("the Configuration's endpointAddress", collector));
    }
    let executor = text(&app.object.value, "/spec/executor");
    let executors =
        manifests.built.targets.iter().filter_map(|target| target.object("SpinAppExecutor", executor));
    for (_, url) in executors.flat_map(|executor| entries(&executor.value, "/spec/deploymentConfig/otel")) {
        let after_scheme = url.as_str().and_then(|url| url.split("//").nth(1)?.split('/').next());
        all.extend(after_scheme.map(|host| ("the executor's otel", host)));
    }
    all
}

fn database<'a>(app: &SpinApp<'a>) -> Option<(&'static str, &'a str)> {
    Some(("database_host", app.value("database_host")?))
}

/// A name in the cluster is led to by its namespace, another one by addresses.
fn way_to((setting, address): &(&str, &str)) -> Option<(String, String)> {
    let (host, port) = address.trim().rsplit_once(':')?;
    let mut parts = host.split('.').skip(1);
    let peer = match (parts.next(), parts.next()) {
        (Some(namespace), Some("svc")) => format!("namespace {namespace}"),
        _ => OUTSIDE.to_owned(),
    };
    Some((format!("out to {peer}, TCP {port}"), format!("{setting} {address}")))
}

fn check_ways(policies: &[&Object], workload: &Workload<'_>, findings: &mut Findings) {
    let name = workload.object.name();
    let mut missing = workload.ways.clone();
    for policy in policies.iter().filter(|policy| workload.is_selected_by(policy)) {
        for way in ways(policy) {
            if !workload.ways.contains_key(&way) {
                let what = format!(
                    "lets {name} {way}, for which neither a setting nor {SOURCE} has a use: remove it, or add it there"
                );
                policy.wrong(what, findings);
            }
            missing.remove(&way);
        }
    }
    for (way, what) in missing {
        let what = format!("no NetworkPolicy lets it {way} ({what}): add the way, or mend the setting");
        workload.object.wrong(what, findings);
    }
}

impl Workload<'_> {
    fn is_selected_by(&self, policy: &Object) -> bool {
        // Without a selector it is for every pod.
        let selector = policy.value.pointer("/spec/podSelector");
        policy.namespace() == self.object.namespace()
            && selector.is_none_or(|selector| matches(selector, &self.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_leads_to_a_namespace_or_outside() {
        let way = |address| way_to(&("database_host", address)).map(|(way, _)| way);
        assert_eq!(way("brokers.kafka.svc.cluster.local:9093").unwrap(), "out to namespace kafka, TCP 9093");
        assert_eq!(way("database.example.com:5432").unwrap(), "out to addresses outside, TCP 5432");
        assert_eq!(way("database.example.com"), None);
    }
}
