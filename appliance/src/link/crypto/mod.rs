//! Keys and sealing. No connection and no clock in here.

pub(crate) mod instance;
pub(crate) mod sealing;
