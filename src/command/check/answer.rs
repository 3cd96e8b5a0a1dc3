//! What a check found.

use std::time::Duration;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Skipped,
    /// The backend cannot be reached, or does not answer as it should.
    Unreachable,
    /// A credential is missing, unusable or refused.
    Credential,
}

impl Verdict {
    pub(super) const ALL: [Verdict; 4] = [Verdict::Ok, Verdict::Skipped, Verdict::Unreachable, Verdict::Credential];

    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Unreachable => "unreachable",
            Verdict::Credential => "credential",
        }
    }

    /// The error class of the ADR, for what is an error.
    pub(super) fn class(self) -> Option<&'static str> {
        match self {
            Verdict::Ok | Verdict::Skipped => None,
            Verdict::Unreachable => Some("ConnectionError"),
            Verdict::Credential => Some("CredentialError"),
        }
    }
}

/// How far a check came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A variable, a file, or AWS credentials.
    Environment,
    Url,
    Dns,
    Connect,
    Proxy,
    Tls,
    Timeout,
    Protocol,
    Status,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stage::Environment => "environment",
            Stage::Url => "url",
            Stage::Dns => "dns",
            Stage::Connect => "connect",
            Stage::Proxy => "proxy",
            Stage::Tls => "tls",
            Stage::Timeout => "timeout",
            Stage::Protocol => "protocol",
            Stage::Status => "status",
        }
    }
}

/// The answer of one check.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// What failed; nothing for what did not.
    pub(super) stage: Option<Stage>,
    /// What a person should know; of a failure also the next step.
    pub(super) message: String,
}

impl Answer {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Answer { verdict: Verdict::Ok, stage: None, message: message.into() }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Answer { verdict: Verdict::Skipped, stage: None, message: reason.into() }
    }

    pub(super) fn unreachable(stage: Stage, message: impl Into<String>) -> Self {
        Answer { verdict: Verdict::Unreachable, stage: Some(stage), message: message.into() }
    }

    pub(super) fn credential(stage: Stage, message: impl Into<String>) -> Self {
        Answer { verdict: Verdict::Credential, stage: Some(stage), message: message.into() }
    }
}

/// A check as reports list it; its name does not depend on the values of variables.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The selection it belongs to.
    pub(super) backend: String,
    /// `variable`, `file`, `http`, `otlp`, `tls`, `tcp`, `aws` or `none`.
    pub(super) kind: &'static str,
    /// What is checked.
    pub(super) check: String,
    pub(super) answer: Answer,
    /// How long it took, where anything was connected to.
    pub(super) took: Option<Duration>,
}

impl Entry {
    /// A check that has no answer yet.
    pub(super) fn new(backend: impl Into<String>, kind: &'static str, check: impl Into<String>) -> Self {
        Entry { backend: backend.into(), kind, check: check.into(), answer: Answer::skipped("not tried"), took: None }
    }

    pub(super) fn answered(self, answer: Answer) -> Self {
        Entry { answer, ..self }
    }
}
