//! The firmware of a projection booth, light to light: camera → codec → link → codec → screen.
//!
//! Each module is a room with a small face; [`booth`] alone knows them all.

pub mod booth;
pub mod camera;
pub mod codec;
pub mod config;
pub mod doctor;
pub mod health;
pub mod input;
pub mod link;
pub mod media;
pub mod pairing;
pub mod provision;
pub mod realtime;
pub mod screen;
pub mod sound;
pub mod sys;
pub mod units;
pub mod update;
