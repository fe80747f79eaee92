//! What a person sees while something takes long: a bar or spinner on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// How soon Ctrl-C is heeded.
const LOOK_FOR_CTRL_C_EVERY: Duration = Duration::from_millis(100);
/// How much of a failed command's output an error shows; the log has it all.
const LINES_IN_AN_ERROR: usize = 20;

/// One long step. Dropped before [`Step::done`], it counts as failed and leaves the screen clean.
pub(crate) struct Step {
    what: String,
    started: Instant,
    bar: Option<ProgressBar>,
    total: u64,
    seen: Cell<u64>,
}

impl Step {
    /// A step of unknown length.
    pub(crate) fn begin(what: &str) -> Self {
        Self::new(what, 0, "{spinner} {msg} {elapsed}")
    }

    /// A step of about `total` parts.
    pub(crate) fn counting(what: &str, total: u64) -> Self {
        Self::new(what, total, "{spinner} {msg} {wide_bar} {percent} % {elapsed}")
    }

    fn new(what: &str, total: u64, template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = if total > 0 { ProgressBar::new(total) } else { ProgressBar::new_spinner() };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            eprintln!("{what} …");
        }
        Self { what: what.to_owned(), started: Instant::now(), bar, total, seen: Cell::new(0) }
    }

    /// One part more is done.
    pub(crate) fn advance(&self) {
        let seen = self.seen.get() + 1;
        self.seen.set(seen);
        match &self.bar {
            // An estimate that was too low must not end the bar early.
            Some(bar) => bar.set_position(seen.min(self.total.saturating_sub(1))),
            None if self.total >= 10 && seen.is_multiple_of(self.total / 10) && seen <= self.total => {
                eprintln!("{} … {} %", self.what, seen * 100 / self.total);
            }
            None => {}
        }
    }

    /// The step is over; `remark` follows its name.
    pub(crate) fn done(self, remark: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let gap = if remark.is_empty() { "" } else { ": " };
        eprintln!("{}{gap}{remark} ({:.1} s)", self.what, self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Runs a command, its output going into `log` and, line by line, to `on_line`.
///
/// # Errors
/// When it cannot be started, or fails: with the end of its output.
pub(crate) fn logged(command: &mut Command, log: &Path, mut on_line: impl FnMut(&str)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut file = File::options().create(true).append(true).open(log)?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {name}: `cargo xtask setup` installs what is needed"))?;
    // The command keeps the writing ends, and with them the pipe, open otherwise.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (lines, arriving) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        BufReader::new(reader).split(b'\n').map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let mut last = VecDeque::new();
    loop {
        if interrupt::requested() {
            // On a terminal it was told already; from elsewhere, the signal was for this process alone.
            let _ = kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM);
            child.wait()?;
            bail!("stopped");
        }
        match arriving.recv_timeout(LOOK_FOR_CTRL_C_EVERY) {
            Ok(line) => {
                file.write_all(&line).and_then(|()| file.write_all(b"\n"))?;
                let text = String::from_utf8_lossy(&line).into_owned();
                on_line(&text);
                last.push_back(text);
                if last.len() > LINES_IN_AN_ERROR {
                    last.pop_front();
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let _ = reading.join();
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", Vec::from(last).join("\n"));
    }
    Ok(())
}
