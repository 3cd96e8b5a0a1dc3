//! Options to try a bundle with: its defaults, and each option's examples.

use anyhow::Result;
use serde_json::Value;

use crate::bundle::{self, Library};
use crate::cli::Request;
use crate::describe::{self, OptionFacts};
use crate::options;
use crate::select::{self, Kind};

/// A bundle that is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Where its files are found.
    pub(super) library: &'a Library,
    /// Telemetry or lineage.
    pub(super) kind: Kind,
    /// The bundle's name.
    pub(super) name: &'a str,
}

/// Options by their dotted names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample(pub(super) Vec<(String, Value)>);

impl Sample {
    /// The same with one option more, or with another value of it.
    pub(super) fn with(&self, name: &str, value: &Value) -> Self {
        let mut options: Vec<_> = self.0.iter().filter(|(other, _)| other != name).cloned().collect();
        options.push((name.to_owned(), value.clone()));
        Sample(options)
    }

    /// The options as flags would set them.
    pub(super) fn flags(&self, kind: Kind) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{kind}.{name}={value}")).collect()
    }

    /// What a message says of them.
    pub(super) fn describe(&self) -> String {
        if self.0.is_empty() {
            return "with the defaults".to_owned();
        }
        let set: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={}", describe::plain(value))).collect();
        format!("with `{}`", set.join(", "))
    }
}

impl Subject<'_> {
    /// The request that renders this bundle alone.
    pub(super) fn request(&self, sample: &Sample, profile: &str) -> Request {
        let mut request =
            Request { set_json: sample.flags(self.kind), profile: Some(profile.to_owned()), ..Request::default() };
        match self.kind {
            Kind::Telemetry => request.telemetry.push(self.name.to_owned()),
            Kind::Lineage => request.lineage.push(self.name.to_owned()),
        }
        request
    }

    /// Whether the bundle's schema and policy take the options.
    fn accepts(&self, sample: &Sample) -> Result<()> {
        let plan = select::select(&self.request(sample, "development"))?;
        options::resolve(&bundle::read(self.library, &plan)?, &plan).map(drop)
    }

    /// The fewest options that the bundle can be rendered with; the error for none where no example helps.
    pub(super) fn base(&self, facts: &[OptionFacts]) -> Result<Sample> {
        let empty = Sample::default();
        let Err(error) = self.accepts(&empty) else { return Ok(empty) };
        self.completed(&empty, facts).ok_or(error)
    }

    /// A sample with as few other examples as make it acceptable.
    pub(super) fn completed(&self, sample: &Sample, facts: &[OptionFacts]) -> Option<Sample> {
        if self.accepts(sample).is_ok() {
            return Some(sample.clone());
        }
        let others = || {
            let free = facts.iter().filter(|one| !sample.0.iter().any(|(name, _)| *name == one.name));
            free.map(|one| (one.name.as_str(), candidates(one)))
        };
        let pairs = others().flat_map(|(name, values)| values.into_iter().map(move |value| (name, value)));
        let single = pairs.map(|(name, value)| sample.with(name, &value)).find(|more| self.accepts(more).is_ok());
        single.or_else(|| {
            let first = others().filter_map(|(name, values)| Some((name, values.into_iter().next()?)));
            let all = first.fold(sample.clone(), |all, (name, value)| all.with(name, &value));
            self.accepts(&all).ok().map(|()| all)
        })
    }

    /// The base, and each option at each of its examples; a refused example is a finding.
    pub(super) fn all(
        &self,
        facts: &[OptionFacts],
        refused: &mut impl FnMut(&str, &Value, String),
    ) -> Result<Vec<Sample>> {
        let base = self.base(facts)?;
        let mut samples = vec![base.clone()];
        for one in facts {
            for value in candidates(one) {
                let sample = base.with(&one.name, &value);
                match self.completed(&sample, facts) {
                    Some(more) if !samples.contains(&more) => samples.push(more),
                    Some(_) => {}
                    None => {
                        let error = self.accepts(&sample).err();
                        refused(&one.name, &value, error.map_or_else(String::new, |error| format!("{error:#}")));
                    }
                }
            }
        }
        Ok(samples)
    }
}

/// The values of an option that are known to be meant, its examples first: they are the ones that go with others.
pub(super) fn candidates(option: &OptionFacts) -> Vec<Value> {
    match option.r#type.as_deref() {
        _ if !option.values.is_empty() => {
            let others = option.values.iter().filter(|value| !option.examples.contains(value));
            option.examples.iter().chain(others).cloned().collect()
        }
        Some("boolean") => vec![Value::Bool(true), Value::Bool(false)],
        _ => option.examples.clone(),
    }
}
