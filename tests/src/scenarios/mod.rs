//! One file a scenario, and the list of them.

mod attackers;
mod bad_config;
mod bad_sticks;
mod colour_bars;
mod doctor;
mod doctor_sound;
mod garbage;
mod hearing;
mod image_boot;
mod image_corrupt;
mod image_pair;
mod link_faults;
mod lips;
mod meeting;
mod mute;
mod notice;
mod pair_code;
mod pair_lan;
mod pair_relay;
mod power_cuts;
mod rate_step;
mod relay_cluster;
mod roam;
mod room;
mod slow_peer;
mod sound_devices;
mod sound_faults;
mod stick_network;
mod stick_roundtrip;
mod talk;
mod three;
mod two_way;
mod unplug;
mod update_rollback;
mod voice_first;
mod watchdog;
mod wrong_peer;

use crate::scenario::Scenario;

/// All of them, in the order in which they make sense to run.
pub(crate) const ALL: &[Scenario] = &[
    colour_bars::SCENARIO,
    two_way::SCENARIO,
    three::SCENARIO,
    slow_peer::SCENARIO,
    unplug::SCENARIO,
    watchdog::SCENARIO,
    notice::SCENARIO,
    doctor::SCENARIO,
    bad_config::SCENARIO,
    wrong_peer::SCENARIO,
    garbage::SCENARIO,
    link_faults::SCENARIO,
    rate_step::SCENARIO,
    voice_first::SCENARIO,
    sound_devices::SCENARIO,
    roam::SCENARIO,
    room::SCENARIO,
    talk::SCENARIO,
    lips::SCENARIO,
    mute::SCENARIO,
    doctor_sound::SCENARIO,
    relay_cluster::SCENARIO,
    pair_lan::SCENARIO,
    pair_relay::SCENARIO,
    pair_code::SCENARIO,
    attackers::SCENARIO,
    stick_roundtrip::SCENARIO,
    bad_sticks::SCENARIO,
    image_boot::SCENARIO,
    image_pair::PAIR,
    image_pair::SIZE,
    image_pair::EXPOSURE,
    stick_network::SCENARIO,
    talk::LONG,
    sound_faults::SCENARIO,
    power_cuts::FULL,
    power_cuts::CUTS,
    image_corrupt::SCENARIO,
    image_boot::TPM,
    image_boot::LOST,
    update_rollback::SCENARIO,
    update_rollback::SERVER,
];
