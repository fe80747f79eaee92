//! A stick changes network and time of a machine that runs: the services that make them learn of it.

use std::fs;
use std::time::Duration;

use crate::machine::stick::Stick;
use crate::machine::{self, uml};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "stick-network",
    summary: "a stick's [network] and [time] count at once, without a restart of the machine, through the units of the image",
    kind: Kind::Scenario,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run,
};

const TIMEOUT: Duration = Duration::from_secs(150);
const CONFIG: &str = "[network]\naddress = \"192.0.2.7/24\"\n[time]\nservers = [\"192.0.2.9\"]\n";
/// Before the stick and after it; the network takes a moment.
const SCRIPT: &str = "networkctl --no-pager status vec0; echo and now the stick; systemctl start holobooth-stick@ubdb; sleep 5; \
                      networkctl --no-pager status vec0; timedatectl show-timesync -p SystemNTPServers; echo that was all";

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let disk = uml::flashed(&machine::image("1+room")?, folder, "disk")?;
    let file = folder.join("holobooth.toml");
    fs::write(&file, CONFIG).map_err(failed(file.display().to_string()))?;
    let stick = Stick::with(folder.join("stick.img"), &[("holobooth.toml", &file)])?;
    // The other end is nobody's; a port without a cable has no address.
    let (end, _other) = uml::cable()?;
    let options = uml::Options::with_sticks(&[stick.image().to_owned()], SCRIPT);
    let mut machine = uml::Machine::start("m", &disk, Some(&end), folder, &options)?;
    let (before, after) = machine.wait("the stick's network", TIMEOUT, |machine| {
        let console = machine.console();
        let (before, after) = console.split_once("and now the stick")?;
        after.contains("that was all").then(|| (before.to_owned(), after.to_owned()))
    })?;
    let line =
        |text: &str, word: &str| text.lines().find(|line| line.contains(word)).unwrap_or_default().to_owned();
    report.check(
        "before it, the address is another",
        !before.contains("192.0.2.7"),
        line(&before, "Address: 1"),
    );
    report.check("the stick was applied", after.contains("Configuration applied"), line(&after, "provision"));
    let address = line(&after, "Address: 192.0.2.7");
    report.check("the port has the address", !address.is_empty(), address);
    let time = line(&after, "SystemNTPServers=");
    report.check("time comes from the server", time.contains("192.0.2.9"), time);
    Ok(report)
}
