//! How much may be sent, and when: pure policy.

pub(crate) mod encoder_control;
pub(crate) mod estimator;
pub(crate) mod pacer;
pub(crate) mod scheduler;
