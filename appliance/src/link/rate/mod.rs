//! How much may be sent, and when: pure policy.

pub(crate) mod estimator;
pub(crate) mod pacer;
