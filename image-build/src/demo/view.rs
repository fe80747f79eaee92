//! The demo on the terminal: a table that renews itself, or a line a second where there is no terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::demo::status::Status;

/// How often the view is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
const LABEL: usize = 10;
const COLUMN: usize = 30;

/// Both booths, second by second.
pub(crate) struct View {
    title: String,
    names: [&'static str; 2],
    started: Instant,
    earlier: [Option<Status>; 2],
    /// Height of what stands on the terminal; nothing when there is none.
    drawn: Option<usize>,
}

impl View {
    /// An empty view.
    pub(crate) fn new(title: &str, names: [&'static str; 2]) -> Self {
        let drawn = std::io::stdout().is_terminal().then_some(0);
        Self { title: title.to_owned(), names, started: Instant::now(), earlier: [None, None], drawn }
    }

    /// Shows both booths as they are now.
    pub(crate) fn show(&mut self, now: [Option<Status>; 2]) {
        let rates = [0, 1].map(|n| {
            let (now, earlier) = (now[n].as_ref()?, self.earlier[n].as_ref()?);
            now.shown_per_second_since(earlier)
        });
        let seconds = self.started.elapsed().as_secs();
        let mut out = std::io::stdout().lock();
        // A terminal that went away is no reason to end the demo.
        let _ = match &mut self.drawn {
            None => writeln!(out, "{seconds:>4} s  {}", line(self.names, &now, rates)),
            Some(height) => {
                let lines = table(self.names, &now, rates);
                let up = if *height > 0 { format!("\x1b[{height}A") } else { String::new() };
                let body: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
                *height = lines.len() + 1;
                write!(out, "{up}{} · {seconds} s · Ctrl-C ends it\x1b[K\n{body}\x1b[J", self.title)
            }
        };
        let _ = out.flush();
        for (earlier, now) in self.earlier.iter_mut().zip(now) {
            *earlier = now.or(earlier.take());
        }
    }
}

/// Renews the view each second until `ended` gives an exit status.
pub(crate) fn watch(
    view: &mut View,
    mut ended: impl FnMut() -> Result<Option<u8>>,
    mut states: impl FnMut() -> [Option<Status>; 2],
) -> Result<u8> {
    let mut next = Instant::now() + RENEW_EVERY;
    loop {
        if let Some(status) = ended()? {
            return Ok(status);
        }
        if Instant::now() >= next {
            view.show(states());
            next += RENEW_EVERY;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn line(names: [&str; 2], now: &[Option<Status>; 2], rates: [Option<f64>; 2]) -> String {
    let one = |n: usize| match &now[n] {
        None => format!("{}: no status yet", names[n]),
        Some(status) => format!(
            "{}: {} {} fps, {} kbit/s, RTT {} ms, capture to flip {} ms",
            names[n],
            status.state,
            rates[n].map_or("-".into(), |fps| format!("{fps:.1}")),
            status.received.bitrate_kbps,
            ms(status.peer().map_or(0, |peer| peer.rtt_us)),
            status.stages.last().map_or("-".into(), |total| ms(total.p50_us)),
        ),
    };
    format!("{} | {}", one(0), one(1))
}

fn table(names: [&str; 2], now: &[Option<Status>; 2], rates: [Option<f64>; 2]) -> Vec<String> {
    let row = |label: &str, of: &dyn Fn(usize, &Status) -> String| {
        let cell = |n: usize| now[n].as_ref().map_or("-".into(), |status| of(n, status));
        format!("  {label:LABEL$} {:COLUMN$} {}", cell(0), cell(1))
    };
    let mut lines = vec![
        String::new(),
        format!("  {:LABEL$} \x1b[1m{:COLUMN$} {}\x1b[0m", "", names[0], names[1]),
        row("state", &|_, s| s.state.clone()),
        row("camera", &|_, s| or(&s.camera.mode, &s.camera.state)),
        row("encoder", &|_, s| or(&s.encoder.name, "-")),
        row("sends", &|_, s| format!("{} kbit/s, {} dropped", s.sent.bitrate_kbps, s.total.dropped_frames)),
        row("receives", &|_, s| {
            let (kbps, total) = (s.received.bitrate_kbps, &s.total);
            format!("{kbps} kbit/s, {} lost of {}", total.lost_frames, total.received_frames)
        }),
        row("peer", &|_, s| {
            if let Some(peer) = s.peer() {
                format!("{}, RTT {} ms", peer.route, ms(peer.rtt_us))
            } else {
                "not connected".into()
            }
        }),
        row("screen", &|_, s| or(&s.screen.mode, &s.screen.state)),
        row("shows", &|n, s| match s.screen.card.as_str() {
            "" => format!("{} fps", rates[n].map_or("-".into(), |fps| format!("{fps:.1}"))),
            card => format!("the card '{card}'"),
        }),
        String::new(),
        format!(
            "  {:LABEL$} {:COLUMN$} {}",
            "", "p50 / p95 ms, of its picture", "p50 / p95 ms, of its picture"
        ),
    ];
    let most = now.iter().flatten().max_by_key(|status| status.stages.len());
    for (index, stage) in most.map_or(&[][..], |status| &status.stages).iter().enumerate() {
        lines.push(row(&stage.stage, &|_, s| {
            s.stages.get(index).map_or("-".into(), |s| format!("{:>5} / {:>5}", ms(s.p50_us), ms(s.p95_us)))
        }));
    }
    lines
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn ms(us: i64) -> String {
    format!("{:.1}", us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_stage() {
        let json = br#"{"state":"live","peers":[{"connected":true,"route":"direct","rtt_us":400}],
            "stages":[{"stage":"encode","p50_us":5200,"p95_us":9000},{"stage":"total","p50_us":31000,"p95_us":40000}]}"#;
        let lines = table(["A", "B"], &[Status::parse(json), None], [Some(30.0), None]).join("\n");
        for part in ["encode       5.2 /   9.0", "total       31.0 /  40.0", "direct, RTT 0.4 ms", "30.0 fps"]
        {
            assert!(lines.contains(part), "{part} in\n{lines}");
        }
    }

    #[test]
    fn without_a_terminal_a_second_is_a_line() {
        let text = line(["A", "B"], &[None, Status::parse(br#"{"state":"live"}"#)], [None, Some(29.97)]);
        assert!(
            !text.contains('\n') && text.contains("A: no status yet") && text.contains("B: live 30.0 fps"),
            "{text}"
        );
    }
}
