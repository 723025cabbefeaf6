//! What is wrong.

/// One line for each mistake, however many overlays have it.
#[derive(Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
}

struct Finding {
    what: String,
    places: Vec<String>,
}

impl Findings {
    /// `place` is a kustomization or a file; `what` says what is wrong with which object there, and what to do.
    pub(super) fn add(&mut self, place: &str, what: impl Into<String>) {
        let what = what.into();
        let known = self.all.iter().position(|finding| finding.what == what);
        match known.and_then(|index| self.all.get_mut(index)) {
            Some(finding) if finding.places.iter().any(|known| covers(known, place)) => (),
            Some(finding) => finding.places.push(place.to_owned()),
            None => self.all.push(Finding { what, places: vec![place.to_owned()] }),
        }
    }

    /// As they are shown.
    pub(super) fn lines(&self) -> Vec<String> {
        self.all.iter().map(|Finding { what, places }| format!("{}: {what}", places.join(", "))).collect()
    }
}

/// A mistake of an overlay is also one of the overlay with a component on top.
fn covers(known: &str, place: &str) -> bool {
    known == place || place.strip_prefix(known).is_some_and(|rest| rest.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_said_once() {
        let mut findings = Findings::default();
        for place in ["overlays/local", "overlays/production", "overlays/production+keda"] {
            findings.add(place, "SpinApp/taskcast: is wrong");
        }
        assert_eq!(findings.lines(), ["overlays/local, overlays/production: SpinApp/taskcast: is wrong"]);
    }
}
