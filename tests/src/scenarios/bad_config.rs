//! A bad configuration is refused with its place and with what is allowed.

use std::fs;
use std::path::Path;

use crate::booth;
use crate::child::{Running, Side};
use crate::clock::wait_until;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "bad-config",
    summary: "wrong type, unknown key, missing file, absurd value: refused with file, line, column and what is allowed",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 60,
    run,
};

const REFUSED: i32 = 2;
const ENDS_WITHIN_MS: i64 = 5_000;

struct Case {
    name: &'static str,
    text: &'static str,
    /// Line and column, or only the line where the column is a matter of taste.
    place: &'static str,
    /// What has to be said, in any of these words each.
    says: &'static [&'static [&'static str]],
}

const CASES: &[Case] = &[
    Case {
        name: "wrong-type",
        text: "[camera]\nwidth = \"wide\"\n",
        place: ":2:9",
        says: &[&["wide"], &["u32", "integer", "number"]],
    },
    Case {
        name: "unknown-key",
        text: "[camera]\nwidht = 640\n",
        place: ":2:1",
        says: &[&["widht"], &["`width`"]],
    },
    Case {
        name: "unknown-section",
        text: "\n[kamera]\n",
        place: ":2:2",
        says: &[&["kamera"], &["`camera`"]],
    },
    Case {
        name: "unknown-format",
        text: "[camera]\nformat = \"nv21\"\n",
        place: ":2:10",
        says: &[&["nv21"], &["NV12"], &["YUYV"], &["MJPG"]],
    },
    Case {
        name: "absurd-rate",
        text: "[camera]\n\nfps = 100000\n",
        place: ":3:7",
        says: &[&["100000"], &["240"]],
    },
    Case { name: "absurd-width", text: "[camera]\nwidth = 0\n", place: ":2:9", says: &[&["64"], &["8192"]] },
    Case { name: "negative", text: "[camera]\nheight = -480\n", place: ":2:10", says: &[&["-480"]] },
    Case {
        name: "bad-mode",
        text: "[screen]\nmode = \"huge\"\n",
        place: ":2:8",
        says: &[&["huge"], &["auto"], &["@60"]],
    },
    Case {
        name: "short-fingerprint",
        text: "[peer]\naddress = \"10.9.0.2:4433\"\nfingerprint = \"ab\"\n",
        place: ":3:15",
        says: &[&["64"]],
    },
    Case {
        name: "no-fingerprint",
        text: "[peer]\naddress = \"10.9.0.2:4433\"\n",
        place: ":2:11",
        says: &[&["fingerprint"], &["[room]"]],
    },
    Case {
        name: "no-port",
        text: "[peer]\naddress = \"10.9.0.2\"\nfingerprint = \"ab\"\n",
        place: ":2:11",
        says: &[&["port", "socket address"]],
    },
    Case {
        name: "no-way-to-the-peer",
        text: "[peer]\nfingerprint = \"0000000000000000000000000000000000000000000000000000000000000000\"\n",
        place: ":2:15",
        says: &[&["address = "], &["[room]"]],
    },
    Case {
        name: "relay-without-port",
        text: "[peer]\nfingerprint = \"0000000000000000000000000000000000000000000000000000000000000000\"\n[relay]\naddress = \"relay\"\n",
        place: ":4:11",
        says: &[&["host:port"]],
    },
    Case {
        name: "relay-without-room",
        text: "[peer]\nfingerprint = \"0000000000000000000000000000000000000000000000000000000000000000\"\n[relay]\naddress = \"relay:443\"\n",
        place: ":4:11",
        says: &[&["[room]"], &["holobooth room new"]],
    },
    Case {
        name: "room-key-with-a-slip",
        text: "[room]\nkey = \"AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAB\"\n",
        place: ":2:7",
        says: &[&["slip"]],
    },
    Case { name: "no-toml", text: "[camera]\nwidth 640\n", place: ":2:", says: &[&["="]] },
];

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    for case in CASES {
        let path = context.dir().join(format!("{}.toml", case.name));
        fs::write(&path, case.text).map_err(failed(path.display().to_string()))?;
        for command in ["run", "check"] {
            let (code, said) = outcome(context, command, &path)?;
            let placed = said.contains(&format!("{}{}", path.display(), case.place));
            let missing = case.says.iter().find(|words| !words.iter().any(|word| said.contains(word)));
            let held = code == Some(REFUSED) && placed && missing.is_none();
            report.check(
                format!("{command}: {} refused at {}", case.name, case.place),
                held,
                format!("exit {code:?}: {}", booth::tail(&said, 3)),
            );
        }
    }
    let missing = context.dir().join("missing.toml");
    for command in ["run", "check"] {
        let (code, said) = outcome(context, command, &missing)?;
        let held = code == Some(REFUSED) && said.contains(&missing.display().to_string());
        report.check(format!("{command}: missing file named"), held, format!("exit {code:?}: {said}"));
    }
    let good = context.dir().join("good.toml");
    fs::write(&good, "[camera]\nwidth = 640\nheight = 480\n").map_err(failed(good.display().to_string()))?;
    let (code, said) = outcome(context, "check", &good)?;
    report.check("check: a good file passes", code == Some(0), format!("exit {code:?}: {said}"));
    Ok(report)
}

/// Exit code, or none when it had to be ended, and what was printed.
fn outcome(context: &Context, command: &str, config: &Path) -> Result<(Option<i32>, String), Error> {
    let binary = booth::binary()?;
    let log = context.dir().join(format!("{command}.log"));
    let _ = fs::remove_file(&log);
    let arguments = [command.to_owned(), "--config".to_owned(), config.display().to_string()];
    let mut process =
        Running::start(Side::A, &binary, &arguments, &log).map_err(failed(binary.display().to_string()))?;
    let mut code = None;
    wait_until(ENDS_WITHIN_MS, 5, || {
        let ended = process.ended();
        code = ended.and_then(|status| status.code());
        ended.is_some()
    });
    Ok((code, process.printed().trim().to_owned()))
}
