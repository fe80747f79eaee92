//! How scenarios begin that are about something else: two booths, small pictures, something that moves.

use crate::booth::{Pair, Plan};
use crate::child::Side;
use crate::scenario::{Context, Error};
use crate::vivid::{Pattern, Scene, Vivid};

/// The picture size of scenarios that are not about size, in pixels.
pub(super) const SMALL: (u32, u32) = (640, 480);

/// Both cameras see something that moves.
pub(super) fn look_at_movement() -> Result<(), Error> {
    for side in [Side::A, Side::B] {
        Vivid::open(side.camera())?.look_at(Scene::moving(Pattern::Bars))?;
    }
    Ok(())
}

/// Starts both booths, told of nobody.
pub(super) fn start_as_strangers(pair: &mut Pair, plan: Plan) -> Result<(), Error> {
    pair.a.start(plan, None)?;
    pair.b.start(plan, None)?;
    Ok(())
}

/// A meeting of both booths, each seeing something that moves.
pub(super) fn meeting(context: &Context) -> Result<Pair, Error> {
    look_at_movement()?;
    let mut pair = Pair::new(context.dir())?;
    let plan = Plan::both_ways(SMALL);
    pair.start(plan, plan)?;
    Ok(pair)
}
