//! The USB stick: found by the system, read with bounds, understood in a sandbox, applied whole or not at
//! all, answered on the screen and on the stick itself.
//!
//! What has the right to mount here never makes sense of a configuration: it reads bytes ([`read`]), has
//! another process understand them ([`sandbox`], [`evaluate`]), and stores them ([`store`]). Of an update it
//! unpacks the tar file, within bounds ([`crate::update`]). What a stick can ask for: a configuration; a
//! factory reset; a sound check; the last logs; a new version. Calibration is not among them yet.

mod answer;
mod confirm;
mod disk;
mod error;
mod evaluate;
mod logs;
mod mount;
mod network;
mod places;
mod read;
mod reset;
mod revert;
mod sandbox;
mod sound_check;
mod stick;
mod store;
pub mod update;

pub use confirm::{TIMEOUT, confirm};
pub use error::Error;
pub use evaluate::{Change, Meaning, Question, Verdict};
pub use network::{Rendered, render, write};
pub use places::{IMAGE, Places};
pub use revert::revert;
pub use sandbox::{COMMAND as EVALUATE, Sandbox, within};
pub use stick::stick;
pub use store::FOLDER as STORE;
