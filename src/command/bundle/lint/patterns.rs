//! Patterns that another validator may need exponential time for. Ours is linear; editors and CI use others.

use regex_syntax::hir::{Hir, HirKind};

/// Why a pattern is expensive, if it is.
pub(super) fn expensive(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    nested(&hir).then(|| {
        "repeats what may itself repeat without a bound, so that a text can be split in exponentially many ways; \
         put something that must stand between the repetitions"
            .to_owned()
    })
}

/// Whether a repetition without a bound holds nothing but another one.
fn nested(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(outer) => (outer.max.is_none() && is_unbounded(&outer.sub)) || nested(&outer.sub),
        HirKind::Capture(capture) => nested(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(nested),
        _ => false,
    }
}

/// Whether an expression, or one of its alternatives, is a repetition without a bound and nothing else.
fn is_unbounded(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(inner) => inner.max.is_none() || is_unbounded(&inner.sub),
        HirKind::Capture(capture) => is_unbounded(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().any(is_unbounded),
        // What else stands there may be empty.
        HirKind::Concat(parts) => {
            let some = |part: &Hir| part.properties().minimum_len().is_some_and(|len| len > 0);
            parts.iter().any(is_unbounded) && parts.iter().filter(|part| !is_unbounded(part)).all(|part| !some(part))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ambiguous_nesting_and_no_other() {
        for bad in ["^(a+)+$", "(x*)*", "^([a-z]+|[0-9]+)*$", "(?:a+b?)+", "((a+))+"] {
            assert!(expensive(bad).is_some(), "{bad}");
        }
        for good in ["^[A-Za-z0-9_]+([.][A-Za-z0-9_]+)*$", "^https?://[^/]", "(a+b)+", "^(ab)+$", "(a{1,3})+", "("] {
            assert!(expensive(good).is_none(), "{good}");
        }
    }
}
