//! Limits of one value: what is refused, and where in the file it stands.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;

/// Where the refused value stands, in bytes from the start of the file, and what is allowed there.
pub(super) type Refusal = (Range<usize>, String);

/// Whether `value` is one of `allowed`, in `unit`s.
pub(super) fn within<T: Copy + PartialOrd + Display>(
    key: &str,
    value: &Spanned<T>,
    allowed: RangeInclusive<T>,
    unit: &str,
) -> Result<(), Refusal> {
    if allowed.contains(value.get_ref()) {
        return Ok(());
    }
    let (low, high) = (allowed.start(), allowed.end());
    Err((value.span(), format!("`{key}` is {}; allowed is {low} to {high} {unit}", value.get_ref())))
}

/// Whether `value` is `auto` or one of `names`.
pub(super) fn one_of(key: &str, value: &Spanned<String>, names: &[&str]) -> Result<(), Refusal> {
    let names = [&["auto"], names].concat();
    if names.contains(&value.get_ref().as_str()) {
        return Ok(());
    }
    Err((value.span(), format!("`{key}` is `{}`; allowed is one of {}", value.get_ref(), names.join(", "))))
}
