//! A hundred sticks that nothing good can come from: nothing does, and each is told why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::bad_stick::{self, Fault, Signers, good_config, signature};
use crate::booth;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::stick::{Done, Format, Places, Stick, left_behind, run as program};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "bad-sticks",
    summary: "100 bad sticks (FAT, exFAT, ext4; seeded): the store stays, each is answered in time, nothing is left behind; good ones between",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 400,
    run,
};

const STICKS: u64 = 100;
/// A good one after so many bad ones.
const GOOD_EVERY: u64 = 10;
/// What understands a file is ended after 2 s; the rest takes a moment.
const BOUND_MS: i64 = 5_000;
/// How soon a good one is answered.
const ANSWER_MS: i64 = 3_000;

struct Bench {
    binary: PathBuf,
    dir: PathBuf,
    signers: Signers,
    /// Of a booth that anybody may change, and of one that has an operator.
    free: Places,
    operated: Places,
    report: Report,
    worst_ms: i64,
    stalled_ms: i64,
    refused: u64,
}

fn run(context: &Context) -> Result<Report, Error> {
    let signers = Signers::new().map_err(failed("keys"))?;
    let places = |name: &str, text: &str| {
        let dir = context.dir().join(name);
        fs::create_dir_all(&dir)?;
        let image = dir.join("image.toml");
        let socket = dir.join("no.sock").display().to_string();
        let data = dir.join("data").display().to_string();
        fs::write(
            &image,
            format!("[booth]\nname = \"north\"\ndata = {data:?}\n[health]\nsocket = {socket:?}\n{text}"),
        )?;
        Places::new(&dir, image)
    };
    let operator = format!("[operator]\nkey = \"{}\"\n", signers.operator.pk.to_base64());
    let mut bench = Bench {
        binary: booth::binary()?,
        dir: context.dir().to_owned(),
        free: places("free", "").map_err(failed("places"))?,
        operated: places("operated", &operator).map_err(failed("places"))?,
        signers,
        report: Report::default(),
        worst_ms: 0,
        stalled_ms: 0,
        refused: 0,
    };
    bench.good(0)?;
    let sticks = if context.quick { STICKS / 4 } else { STICKS };
    for seed in 0..sticks {
        bench.bad(seed).map_err(|e| failed(format!("stick {seed}"))(io::Error::other(e.to_string())))?;
        if seed % GOOD_EVERY == GOOD_EVERY - 1 {
            bench.good(seed)?;
        }
    }
    let log =
        program(&["dmesg"]).map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let fault = log.lines().find(|line| {
        line.contains("BUG:") || line.contains("Oops") || line.contains("------------[ cut here")
    });
    bench.report.check("the kernel found no fault in itself", fault.is_none(), fault.unwrap_or_default());
    let (refused, worst_ms, stalled_ms) = (bench.refused, bench.worst_ms, bench.stalled_ms);
    bench.report.check(
        "most were refused for a reason, and not for luck",
        refused * 10 >= sticks * 8,
        refused,
    );
    bench.report.figure("sticks", sticks);
    bench.report.figure("refused", refused);
    bench.report.figure("worst_ms", worst_ms);
    bench.report.figure("stalled_ms", stalled_ms);
    Ok(bench.report)
}

impl Bench {
    fn bad(&mut self, seed: u64) -> Result<(), Error> {
        let mut rng = Rng::with_seed(seed);
        let (fault, format) = (Fault::ALL[seed as usize % Fault::ALL.len()], format(seed));
        let stick = Stick::new(self.dir.join("stick.img"), format).map_err(failed("a stick"))?;
        let made =
            bad_stick::make(&stick, fault, &self.signers, &mut rng).map_err(failed(format!("{fault:?}")))?;
        let places = if fault.has_operator() { &self.operated } else { &self.free };
        let before = places.store();
        let plugged = stick.plug(rng.u32(0..5) == 0).map_err(failed("plug"))?;
        let done = places.take(&self.binary, &plugged).map_err(failed("stick"))?;
        let after = places.store();
        let mut wrong = Vec::new();
        // What the operator signed may be applied from a damaged stick, byte for byte.
        let applied =
            made.signed.is_some_and(|text| before != after && places.stored("holobooth.toml") == text);
        if before != after && !applied {
            wrong.push("the store is another".to_owned());
        }
        let nothing = done.said.contains("nothing on the stick is for this booth");
        let told = done.trouble && done.notice.lines().any(|line| line.len() > 20);
        if !(told || fault.is_luck() && (nothing || applied)) {
            wrong.push(format!("no reason: {:?}", done.notice));
        }
        if !flat(&done.notice).contains(made.fault.reason()) {
            wrong.push(format!("another reason: {:?}", done.notice));
        }
        self.refused += u64::from(told);
        wrong.extend(self.aftermath(&done));
        if !plugged.pull() {
            wrong.push("the stick is still in use".into());
        }
        let what = format!("{seed:3} {} {:?}", format.name(), made.fault);
        let found = if wrong.is_empty() {
            first_line(&done)
        } else {
            format!("{}; {}", wrong.join("; "), done.said.trim())
        };
        self.report.check(what, wrong.is_empty(), found);
        Ok(())
    }

    fn aftermath(&mut self, done: &Done) -> Vec<String> {
        self.worst_ms = self.worst_ms.max(done.took_ms);
        self.stalled_ms += done.stalled_ms;
        let mut wrong = left_behind();
        if done.took_ms > BOUND_MS {
            wrong.push(format!("{} ms", done.took_ms));
        }
        if done.code.is_none_or(|code| code > 1) || done.said.contains("panicked") {
            wrong.push(format!("ended with {:?}", done.code));
        }
        wrong
    }

    /// A good stick, at both booths.
    fn good(&mut self, seed: u64) -> Result<(), Error> {
        let mut rng = Rng::with_seed(1_000 + seed);
        for (places, who) in [(self.free.clone(), "a booth"), (self.operated.clone(), "an operator's booth")]
        {
            let format = format(rng.u64(..));
            let text = good_config(&mut rng);
            let stick = Stick::new(self.dir.join("good.img"), format).map_err(failed("a stick"))?;
            let put = |root: &Path| {
                fs::write(root.join("holobooth.toml"), &text)?;
                fs::write(
                    root.join("holobooth.toml.minisig"),
                    signature(&self.signers.operator, text.as_bytes())?,
                )
            };
            stick.with(put).map_err(failed("a good stick"))?;
            let plugged = stick.plug(false).map_err(failed("plug"))?;
            let done = places.take(&self.binary, &plugged).map_err(failed("stick"))?;
            let mut wrong = self.aftermath(&done);
            if !plugged.pull() {
                wrong.push("the stick is still in use".into());
            }
            if places.stored("holobooth.toml") != text {
                wrong.push("not applied".into());
            }
            let answer = stick.text("holobooth-result.txt").map_err(failed("the answer"))?;
            if !answer.contains("Configuration applied") || done.trouble {
                wrong.push(format!("answered {answer:?}, {:?}", done.notice));
            }
            if done.took_ms > ANSWER_MS {
                wrong.push(format!("answered after {} ms", done.took_ms));
            }
            let what = format!("good {} at {who} after {seed}", format.name());
            let found = if wrong.is_empty() {
                format!("{} ms", done.took_ms)
            } else {
                format!("{}; {}", wrong.join("; "), done.said)
            };
            self.report.check(what, wrong.is_empty(), found);
        }
        Ok(())
    }
}

/// On one line, as it was before it was broken to fit the card.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn format(n: u64) -> Format {
    Format::ALL[(n % 3) as usize]
}

fn first_line(done: &Done) -> String {
    let reason =
        done.notice.lines().nth(1).unwrap_or("nothing for this booth").chars().take(90).collect::<String>();
    format!("{} ms: {reason}", done.took_ms)
}
