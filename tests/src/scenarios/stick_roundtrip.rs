//! A stick from the plug to the answer, at a booth that is in a meeting: applied, again, changed, put back,
//! refused, locked, and a network that does not work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::meeting::{SMALL, look_at_movement};
use crate::booth::{self, Pair, Plan};
use crate::clock::wait_until;
use crate::network::ip;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::stick::{Done, Format, Places, Stick, left_behind};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stick-roundtrip",
    summary: "a stick is answered at once and applied, is a no-op again, goes back and forth, and a network that loses the peer reverts",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 240,
    run,
};

/// How long a booth that was told to start again is waited for.
const RELOAD_MS: i64 = 30_000;
/// How long its peer's picture is waited for after a start.
const PICTURE_MS: i64 = 30_000;
/// How long a network that lost the peer is waited for here, in s; two minutes in earnest.
const TIMEOUT_S: &str = "8";
/// From the old network's return to the peer's.
const BACK_MS: i64 = 30_000;

const CONFIG: &str = "holobooth.toml";
const RESULT: &str = "holobooth-result.txt";

struct Site {
    binary: PathBuf,
    pair: Pair,
    places: Places,
    report: Report,
    /// The slowest first card, and the slowest result on card and stick, in ms.
    card_ms: i64,
    result_ms: i64,
}

fn run(context: &Context) -> Result<Report, Error> {
    look_at_movement()?;
    let mut pair = Pair::new(context.dir())?;
    pair.a.take_sticks();
    let plan = Plan::both_ways(SMALL);
    pair.start(plan, plan)?;
    let image = pair.a.dir().join(CONFIG);
    let places = Places::new(pair.a.dir(), image).map_err(failed("places"))?;
    let (binary, report) = (booth::binary()?, Report::default());
    let mut site = Site { binary, pair, places, report, card_ms: 0, result_ms: 0 };
    for format in Format::ALL {
        site.back_and_forth(&context.dir().join("stick.img"), format)?;
    }
    let stick = Stick::new(context.dir().join("stick.img"), Format::Fat).map_err(failed("a stick"))?;
    site.refused(&stick)?;
    site.locked(&stick)?;
    site.network(&stick)?;
    site.requests(&stick)?;
    site.reset(&stick)?;
    site.report.figure("slowest_card_ms", site.card_ms);
    site.report.figure("slowest_result_ms", site.result_ms);
    Ok(site.report)
}

impl Site {
    /// Plugs the stick in, lets it be taken, and pulls it; notes that it was answered and nothing is left
    /// behind.
    fn plug(&mut self, what: &str, stick: &Stick, read_only: bool) -> Result<Done, Error> {
        let plugged = stick.plug(read_only).map_err(failed("plug"))?;
        let done = self.places.take(&self.binary, &plugged).map_err(failed("stick"))?;
        let left = left_behind();
        let held = plugged.pull() && left.is_empty();
        self.report.check(format!("{what}: nothing is left behind"), held, left.join("; "));
        let answered = done.notice_ms.is_some() && done.code == Some(0);
        let found =
            format!("card after {:?} ms, all in {} ms, exit {:?}", done.notice_ms, done.took_ms, done.code);
        let found = if answered { found } else { format!("{found}: {}", done.said) };
        self.report.check(format!("{what}: answered"), answered, found);
        self.card_ms = self.card_ms.max(done.notice_ms.unwrap_or(0));
        self.result_ms = self.result_ms.max(done.took_ms);
        Ok(done)
    }

    fn said(&mut self, what: &str, text: &str, words: &[&str]) {
        // On one line: on a card it is broken to fit.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        let found = if missing.is_empty() { String::new() } else { format!("{missing:?} not in {text:?}") };
        self.report.check(format!("{what}: says {words:?}"), missing.is_empty(), found);
    }

    /// As systemd does: a booth that ends is started again.
    fn supervise(&mut self, what: &str) -> Result<(), Error> {
        if !self.reloaded(what)? {
            return Ok(());
        }
        // The answer's card lies over the picture for a while; behind it the pictures have to come.
        let took_ms = wait_until(PICTURE_MS, 20, || {
            let status = self.pair.a.status();
            status.connected() && status.number("/total/received_frames") > 0
        });
        self.report.check_came(format!("{what}: pictures come again after the restart"), took_ms);
        Ok(())
    }

    /// Whether the booth has ended by itself; if so, it is started again.
    fn reloaded(&mut self, what: &str) -> Result<bool, Error> {
        let took_ms = wait_until(RELOAD_MS, 20, || self.pair.a.ended().is_some());
        let how = self.pair.a.ended().map_or("it goes on".to_owned(), |status| status.to_string());
        let ended = took_ms.is_some();
        self.report.check(format!("{what}: the booth ends, to start again with what is new"), ended, how);
        if ended {
            self.pair.a.restart()?;
        }
        Ok(ended)
    }

    fn back_and_forth(&mut self, image: &std::path::Path, format: Format) -> Result<(), Error> {
        let what = |step: &str| format!("{} {step}", format.name());
        let stick = Stick::new(image.to_owned(), format).map_err(failed("a stick"))?;
        let kbps = 4_000 + format as u32;
        let first = format!("[codec]\nbitrate_kbps = {kbps}\n");
        stick.put(CONFIG, &first).map_err(failed(CONFIG))?;
        let done = self.plug(&what("applied"), &stick, false)?;
        self.said(&what("card"), &done.notice, &["Configuration applied", "codec.bitrate_kbps: "]);
        let answer = stick.text(RESULT).map_err(failed(RESULT))?;
        self.said(&what("answer"), &answer, &["Configuration applied", &format!(" → {kbps}"), "booth A"]);
        let stored = self.places.stored(CONFIG) == first;
        self.report.check(what("applied: in the store"), stored, "");
        if format == Format::Fat {
            self.supervise("applied")?;
        }

        let before = self.places.store();
        let done = self.plug(&what("again"), &stick, false)?;
        self.said(&what("again"), &done.notice, &["Nothing new", "in force already"]);
        let bytes = stick.bytes().map_err(failed("bytes"))?;
        self.plug(&what("a third time"), &stick, false)?;
        let same = stick.bytes().map_err(failed("bytes"))? == bytes && self.places.store() == before;
        self.report.check(what("a third time: neither stick nor store is written"), same, "");

        let second = format!("[codec]\nbitrate_kbps = {}\n", kbps + 100);
        stick.put(CONFIG, &second).map_err(failed(CONFIG))?;
        let done = self.plug(&what("changed"), &stick, false)?;
        self.said(
            &what("changed"),
            &done.notice,
            &["Configuration applied", &format!("{kbps} → {}", kbps + 100)],
        );

        let reverted = self.places.run(&self.binary, &["revert"]).map_err(failed("revert"))?;
        let back = reverted.code == Some(0) && self.places.stored(CONFIG) == first;
        self.report.check(what("revert: the one before"), back, reverted.said.trim());
        let done = self.plug(&what("still in after revert"), &stick, false)?;
        self.said(&what("still in after revert"), &done.notice, &["Nothing new", "put back"]);
        let stays = self.places.stored(CONFIG) == first;
        self.report.check(what("still in after revert: does not apply by itself"), stays, "");
        self.places.run(&self.binary, &["revert"]).map_err(failed("revert"))?;
        let forth = self.places.stored(CONFIG) == second;
        self.report.check(what("revert once more: forth again"), forth, "");
        self.supervise(&what("reverts"))
    }

    fn refused(&mut self, stick: &Stick) -> Result<(), Error> {
        let before = self.places.store();
        stick.put(CONFIG, "[codec]\nbitrate_kpbs = 1\n").map_err(failed(CONFIG))?;
        let done = self.plug("refused", stick, false)?;
        let answer = stick.text(RESULT).map_err(failed(RESULT))?;
        for (what, text) in [("refused: card", &done.notice), ("refused: answer", &answer)] {
            self.said(
                what,
                text,
                &["Configuration refused", "holobooth.toml:2:1", "did you mean `bitrate_kbps`"],
            );
        }
        let same = self.places.store() == before;
        self.report.check("refused: the store is as it was", same, "");
        Ok(())
    }

    fn locked(&mut self, stick: &Stick) -> Result<(), Error> {
        stick.put(CONFIG, "[codec]\nbitrate_kbps = 5000\n").map_err(failed(CONFIG))?;
        let bytes = stick.bytes().map_err(failed("bytes"))?;
        let done = self.plug("locked", stick, true)?;
        self.said("locked", &done.notice, &["Configuration applied", "→ 5000", "holds no answer"]);
        let untouched = stick.bytes().map_err(failed("bytes"))? == bytes;
        self.report.check("locked: the stick is as it was", untouched, "");
        self.supervise("locked")
    }

    /// What systemd-networkd would do with what was rendered.
    fn networkd(&self) -> Result<(), Error> {
        let file = self.places.root.join("run/systemd/network/50-holobooth-port.network");
        let text = fs::read_to_string(&file).map_err(failed(file.display().to_string()))?;
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
        let (port, address) = (value("Name="), value("Address="));
        ip(&format!("-n a addr flush dev {port}")).map_err(failed("flush"))?;
        ip(&format!("-n a addr add {address} dev {port}")).map_err(failed("address"))
    }

    fn connected(&mut self, what: &str) {
        let took_ms = wait_until(BACK_MS, 100, || self.pair.a.status().connected());
        self.report.check_came(what, took_ms);
    }

    fn network(&mut self, stick: &Stick) -> Result<(), Error> {
        self.connected("before the network is changed: the peer is there");
        let good = "[network]\ninterface = \"va\"\naddress = \"10.9.0.1/24\"\n";
        stick.put(CONFIG, good).map_err(failed(CONFIG))?;
        self.plug("same network", stick, false)?;
        let on_trial = self.places.stored("pending").contains("true");
        self.report.check("same network: on trial", on_trial, self.places.stored("pending"));
        self.networkd()?;
        self.supervise("same network")?;
        let kept =
            self.places.run(&self.binary, &["confirm", "--timeout", "30"]).map_err(failed("confirm"))?;
        self.said("same network: kept", &kept.said, &["kept"]);
        let over = self.places.stored("pending").is_empty() && self.places.stored(CONFIG) == good;
        self.report.check("same network: no longer on trial", over, "");

        self.connected("before it is lost: the peer is there");
        stick.put(CONFIG, good.replace("10.9.0.1", "10.77.0.1")).map_err(failed(CONFIG))?;
        let done = self.plug("lost network", stick, false)?;
        self.said("lost network", &done.notice, &["network.address", "10.77.0.1"]);
        self.networkd()?;
        self.reloaded("lost network")?;
        let back =
            self.places.run(&self.binary, &["confirm", "--timeout", TIMEOUT_S]).map_err(failed("confirm"))?;
        self.said("lost network: says so", &back.notice, &["Network change taken back", "reached neither"]);
        let reverted = self.places.stored(CONFIG) == good && self.places.stored("pending").is_empty();
        self.report.check("lost network: reverts by itself", reverted, back.said.trim());
        self.report.figure("lost_network_revert_ms", back.took_ms);
        self.networkd()?;
        self.reloaded("lost network, reverted")?;
        self.connected("lost network: the peer is back");
        let before = self.places.store();
        let done = self.plug("lost network, still in", stick, false)?;
        self.said("lost network, still in", &done.notice, &["Nothing new", "put back"]);
        let same = self.places.store() == before;
        self.report.check("lost network, still in: does not apply by itself", same, "");
        Ok(())
    }

    /// Has what collects the journal copy the card that is there meanwhile. Gives the copy's place.
    fn keep_card_while_collecting(&self) -> std::io::Result<PathBuf> {
        let card = self.places.programs.join("card");
        let program = self.places.programs.join("journalctl");
        let notice = self.places.notices.join("notice.json");
        fs::write(
            &program,
            format!("#!/bin/sh\ncp {} {}\necho a journal\n", notice.display(), card.display()),
        )?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(card)
    }

    fn requests(&mut self, stick: &Stick) -> Result<(), Error> {
        let put = |root: &std::path::Path| {
            fs::remove_file(root.join(CONFIG))?;
            fs::create_dir(root.join("logs"))?;
            fs::write(root.join("new.update"), "rubbish")
        };
        stick.with(put).map_err(failed("requests"))?;
        let card = self.keep_card_while_collecting().map_err(failed("a stand-in for journalctl"))?;
        let done = self.plug("requests", stick, false)?;
        let pending = fs::read_to_string(&card).unwrap_or_default();
        self.said(
            "card while the logs are collected",
            &pending,
            &["Reading the stick", "Collecting", "new.update"],
        );
        self.said("update", &done.notice, &["new.update", "no bundle of ours"]);
        let answer = stick.text(RESULT).map_err(failed(RESULT))?;
        self.said("requests", &answer, &["no bundle of ours", "Logs are in"]);
        let logs = stick.with(|root| {
            let length =
                |name: &str| fs::metadata(root.join("logs").join(name)).map_or(0, |metadata| metadata.len());
            let lengths = (length("journal.txt"), length("doctor.json"));
            fs::remove_dir_all(root.join("logs"))?;
            fs::remove_file(root.join("new.update"))?;
            Ok(lengths)
        });
        let (journal, doctor) = logs.map_err(failed("logs"))?;
        self.report.check(
            "logs are on the stick",
            journal > 0 && doctor > 0,
            format!("{journal} and {doctor} bytes"),
        );
        Ok(())
    }

    fn reset(&mut self, stick: &Stick) -> Result<(), Error> {
        let (before, data) = (self.places.store(), self.pair.a.dir().join("data"));
        stick.put("factory-reset", "B\n").map_err(failed("factory-reset"))?;
        let done = self.plug("another's reset", stick, false)?;
        self.said("another's reset", &done.notice, &["Factory reset refused", "this one is A"]);
        let same = self.places.store() == before && data.join("key.pem").exists();
        self.report.check("another's reset: all is as it was", same, "");

        stick.put("factory-reset", "A\n").map_err(failed("factory-reset"))?;
        self.plug("reset of a locked stick", stick, true)?;
        let same = self.places.store() == before && data.join("key.pem").exists();
        self.report.check("reset of a locked stick: all is as it was", same, "");

        let done = self.plug("reset", stick, false)?;
        self.said("reset", &done.notice, &["Factory reset done"]);
        let marked = stick.text("factory-reset.done").map_err(failed("factory-reset.done"))? == "A\n"
            && stick.text("factory-reset").map_err(failed("factory-reset"))?.is_empty();
        self.report.check("reset: marked as done on the stick", marked, "");
        let empty = self.places.store().is_empty() && !data.join("key.pem").exists();
        self.report.check("reset: store and data are empty", empty, format!("{:?}", self.places.store()));
        Ok(())
    }
}
