//! From power on to the card and to the other booth's picture, beside Debian from power on to its login
//! prompt: in QEMU, one after the other, on one machine.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::picture::{UPRIGHT, WELL};
use crate::machine::{self, Machine, Options, qemu, uml};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

/// `bench boot`
pub(crate) const BOOT: Scenario = Scenario {
    name: "boot",
    summary: "from power on to card and live picture, as ratios to an untuned Debian's way to its login prompt (asks for 0.5 for the card)",
    kind: Kind::Bench,
    place: Place::Machines(&["1", "1+room", "debian"]),
    relay: false,
    time_limit_s: 3600,
    run,
};

const TIMEOUT: Duration = Duration::from_secs(600);
/// How often each starts; the first start of a booth makes its partitions and counts for itself.
const STARTS: usize = 3;
/// What is asked for.
const MOST: f64 = 0.5;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let starts = if context.quick { 1 } else { STARTS };
    let (ours, theirs) = (folder.join("holobooth"), folder.join("debian"));
    for place in [&ours, &theirs] {
        std::fs::create_dir_all(place).map_err(failed(place.display().to_string()))?;
    }
    let booth = qemu::flashed(&machine::image("1")?, &ours, "disk.qcow2")?;
    let debian = qemu::flashed(&machine::image("debian")?, &theirs, "disk.qcow2")?;
    // The serial line is slow, and a booth has none; Debian's prompt is read from it.
    let silent = Options { console: false, screen: (1920, 1080), ..Options::default() };
    let mut panics = 0;
    let (mut cards, mut lives, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
    for start in 0..=starts {
        let mut machine = Machine::start(&booth, &ours, &silent)?;
        let card =
            machine.wait_for_picture("a card", TIMEOUT, |shot| shot.is_card(WELL) || shot.qr().is_some())?;
        machine.power_button(TIMEOUT)?;
        let prompt = login(&debian, &theirs, &silent, &mut panics)?;
        let [card, prompt] = [card, prompt].map(|time| time.as_secs_f64());
        if start == 0 {
            report.figure("first_start_card_s", card);
            report.figure("first_start_debian_s", prompt);
        } else {
            cards.push(card);
            prompts.push(prompt);
        }
    }
    // Last, for the other booth keeps a processor busy.
    let mut others = Others::start(folder)?;
    for start in 0..=starts {
        let live = others.until_live(&silent)?.as_secs_f64();
        if start == 0 {
            report.figure("first_start_live_s", live);
        } else {
            lives.push(live);
        }
    }
    let [card, live, prompt] = [cards, lives, prompts].map(median);
    report.figure("card_s", card);
    report.figure("live_s", live);
    report.figure("debian_login_s", prompt);
    println!(
        "to the card {card:.1} s, to the other booth's picture {live:.1} s, Debian's prompt {prompt:.1} s"
    );
    report.figure("debian_panics", panics);
    report.figure("ratio", card / prompt);
    report.figure("live_ratio", live / prompt);
    report.check(
        format!("the card is there in {MOST} of Debian's time"),
        card / prompt <= MOST,
        format!("{:.2}", card / prompt),
    );
    Ok(report)
}

/// Starts Debian; until its prompt. QEMU's emulation now and then lets a kernel die in code that another
/// processor patches: such a start is counted, and another tried.
fn login(disk: &Path, folder: &Path, options: &Options, panics: &mut usize) -> Result<Duration, Error> {
    const PANICS: usize = 3;
    loop {
        let mut machine = Machine::start(disk, folder, options)?;
        let came = machine.wait_until("Debian's prompt", TIMEOUT, |machine| {
            let console = machine.console();
            console.contains("login:") || console.contains("Kernel panic")
        })?;
        let panicked = !machine.console().contains("login:");
        machine.cut_power();
        *panics += usize::from(panicked);
        if !panicked {
            return Ok(came);
        }
        if *panics == PANICS {
            return Err(machine::Error::Refused(
                "Debian's kernel dies again and again; its console says of what".into(),
            )
            .into());
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A booth in QEMU with a camera, and the other one of its room, that has long been there: in User-Mode
/// Linux, on the other end of its cable.
struct Others {
    folder: PathBuf,
    disk: PathBuf,
    camera: PathBuf,
    waiting: uml::Machine,
    port: OwnedFd,
}

impl Others {
    fn start(folder: &Path) -> Result<Self, Error> {
        let folder = folder.join("live");
        std::fs::create_dir_all(&folder).map_err(failed(folder.display().to_string()))?;
        let image = machine::image("1+room")?;
        let disk = qemu::flashed(&image, &folder, "disk.qcow2")?;
        let (port, end) = uml::cable()?;
        let options = uml::Options {
            memory_mib: 1024,
            credentials: uml::eyes(&folder, "waiting", false).into(),
            ..uml::Options::default()
        };
        let waiting = uml::Machine::start(
            "waiting",
            &uml::flashed(&image, &folder, "waiting.disk")?,
            Some(&end),
            &folder,
            &options,
        )?;
        Ok(Self { folder, disk, camera: machine::image("debian")?, waiting, port })
    }

    /// Starts the booth in QEMU; until it shows what the other's camera sees.
    fn until_live(&mut self, options: &Options) -> Result<Duration, Error> {
        let seen = self.folder.join("waiting.json");
        self.waiting.wait("the other booth", TIMEOUT, |_| seen.exists().then_some(()))?;
        let options =
            Options { credentials: camera(), second_disk: Some(self.camera.clone()), ..options.clone() };
        let mut machine = Machine::start_on(Some(&self.port), &self.disk, &self.folder, &options)?;
        let live =
            machine.wait_for_picture("the other booth's picture", TIMEOUT, |shot| shot.bars() == UPRIGHT)?;
        machine.power_button(TIMEOUT)?;
        Ok(live)
    }
}

/// Units that make a camera: QEMU has none, and the image no module for one in software. Debian's disk has
/// it, for the same kernel.
fn camera() -> Vec<(String, String)> {
    let mount = "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=/dev/vdb2\nWhere=/run/second\nOptions=ro\n";
    let camera = "[Unit]\nDefaultDependencies=no\nRequires=run-second.mount\nAfter=run-second.mount\n\
                  [Service]\nType=oneshot\nRemainAfterExit=yes\n\
                  ExecStart=modprobe -d /run/second vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0\n";
    [
        ("systemd.extra-unit.run-second.mount", mount),
        ("systemd.extra-unit.camera.service", camera),
        ("systemd.unit-dropin.sysinit.target~camera", "[Unit]\nWants=camera.service\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}
