//! One file a scenario.

pub(crate) mod attackers;
pub(crate) mod bad_config;
pub(crate) mod bad_sticks;
pub(crate) mod colour_bars;
pub(crate) mod doctor;
pub(crate) mod garbage;
pub(crate) mod image_boot;
pub(crate) mod image_corrupt;
pub(crate) mod image_pair;
pub(crate) mod link_faults;
pub(crate) mod notice;
pub(crate) mod pair_code;
pub(crate) mod pair_lan;
pub(crate) mod pair_relay;
pub(crate) mod power_cuts;
pub(crate) mod rate_step;
pub(crate) mod relay_cluster;
pub(crate) mod roam;
pub(crate) mod stick_network;
pub(crate) mod stick_roundtrip;
pub(crate) mod two_way;
pub(crate) mod unplug;
pub(crate) mod update_rollback;
pub(crate) mod watchdog;
pub(crate) mod wrong_peer;

use crate::booth::{Pair, Plan};
use crate::child::Side;
use crate::scenario::{Context, Error};
use crate::vivid::{Pattern, Scene, Vivid};

/// The picture size of scenarios that are not about size, in pixels.
pub(crate) const SMALL: (u32, u32) = (640, 480);

/// Both cameras see something that moves.
fn look_at_movement() -> Result<(), Error> {
    for side in [Side::A, Side::B] {
        Vivid::open(side.camera())?.look_at(Scene::moving(Pattern::Bars))?;
    }
    Ok(())
}

/// Starts both booths, told of nobody.
fn start_as_strangers(pair: &mut Pair, plan: Plan) -> Result<(), Error> {
    pair.a.start(plan, None)?;
    pair.b.start(plan, None)?;
    Ok(())
}

/// A meeting of both booths, each seeing something that moves.
fn meeting(context: &Context) -> Result<Pair, Error> {
    look_at_movement()?;
    let mut pair = Pair::new(context.dir())?;
    let plan = Plan::both_ways(SMALL);
    pair.start(plan, plan)?;
    Ok(pair)
}
