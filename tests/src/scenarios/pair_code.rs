//! Booths without a room: one shows a code, at the other it is entered, and both belong together from then
//! on.

use super::meeting::{SMALL, look_at_movement, start_as_strangers};
use crate::booth::{Booth, PORT, Pair, Plan, Status};
use crate::child::Side;
use crate::clock::{now_us, wait_until};
use crate::flow;
use crate::report::Report;
use crate::scanout::Screen;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "pair-code",
    summary: "two booths without a room: the code that one shows, entered at the other, makes a room; a wrong one does not; it outlives a power cut",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

/// From the entering of the code to pictures on both screens, and from a power cut.
const LIVE_MS: i64 = 5_000;
const TIMEOUT_MS: i64 = 20_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at_movement()?;
    let mut pair = Pair::new(context.dir())?;
    let plan = Plan::both_ways(SMALL);
    pair.a.belong_to(None);
    pair.b.belong_to(None);
    start_as_strangers(&mut pair, plan)?;
    for booth in [&mut pair.a, &mut pair.b] {
        booth.wait("showing a code", TIMEOUT_MS, |status| {
            status.word("/link/code").len() == 8 && status.word("/screen/card") == "pairing"
        })?;
    }
    let screen = Screen::open(pair.a.side().screen())?;
    let mut brightness = 0.0;
    let card = wait_until(TIMEOUT_MS, 50, || {
        brightness = screen.picture().ok().flatten().map_or(0.0, |picture| picture.brightness());
        // Most of what is lit is the QR code, on a ground without light.
        brightness > 8.0 && brightness < 100.0
    });
    report.check("A's screen shows a card", card.is_some(), format!("mean {brightness:.1}"));

    let code = pair.a.status().word("/link/code").to_owned();
    let wrong = if code == "00000000" { "00000001" } else { "00000000" };
    let (done, said) = pair.b.command(&["pair", wrong])?;
    report.check("a wrong code is refused at B", !done && said.contains("read it again"), said);
    let refused = pair.a.status().number("/link/guesses_refused");
    report.check("and counted at A", refused == 1, refused);
    let apart = !pair.a.status().connected() && pair.a.status().word("/state") == "pairing";
    report.check("and changes nothing", apart, pair.a.status().word("/state"));
    let (done, said) = pair.b.command(&["pair", "1234"])?;
    report.check("four digits are no code", !done && said.contains("8 digits"), said);

    let since_us = now_us();
    let (done, said) = pair.b.command(&["pair", &code, "--booth", "A"])?;
    report.check("the right code is taken", done, said);
    let together = |status: &Status| status.connected() && status.route() == "direct";
    let mut check = |what: &str, since_us: i64, pair: &Pair| {
        let seen = flow::watch(pair, 0, TIMEOUT_MS, together);
        let took_ms = seen.took_ms.map(|_| (now_us() - since_us) / 1000);
        report.check_in_time(format!("{what}: live within {LIVE_MS} ms"), took_ms, LIVE_MS);
        report.figure(&format!("{}_ms", what.replace(' ', "_")), took_ms);
    };
    check("code entered", since_us, &pair);
    pair.a.kill();
    pair.b.kill();
    pair.a.restart()?;
    pair.b.restart()?;
    check("after a power cut", now_us(), &pair);
    let logs = format!("{}{}", pair.a.log(), pair.b.log());
    report.check("no log tells the code", !logs.contains(&code), "");
    for booth in [&pair.a, &pair.b] {
        let (name, status) = (booth.side().name().to_uppercase(), booth.status());
        let sealed = status.json().pointer("/link/sealed").and_then(serde_json::Value::as_bool);
        report.check(format!("{name}'s meeting is sealed"), sealed == Some(true), "");
    }
    // A third one, by a file: A has a room by now, and that is what it gives.
    let mut third = Booth::new(Side::B, &context.dir().join("third"))?;
    third.belong_to(None);
    third.call_itself("third");
    third.listen_on(PORT + 1);
    third.start(Plan { camera: false, screen: false, ..plan }, None)?;
    third.wait("showing a code", TIMEOUT_MS, |status| status.word("/link/code").len() == 8)?;
    pair.a.stop();
    pair.a.enter(third.status().word("/link/code"));
    pair.a.start(plan, None)?;
    third.wait("in the room", TIMEOUT_MS, |status| status.members() == 2)?;
    for (booth, name) in [(&pair.a, "A"), (&pair.b, "B")] {
        let seen = wait_until(TIMEOUT_MS, 100, || booth.status().members() == 2);
        report.check_came(format!("{name} sees a third, which came by a file"), seen);
    }
    report.check("no process ended", pair.ended().is_none() && third.ended().is_none(), "");
    Ok(report)
}
