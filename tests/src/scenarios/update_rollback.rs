//! Updates by stick: a good one, one with a wrong signature, and one that never gets well and goes back by
//! itself.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use crate::machine::server::{ADDRESS, Server};
use crate::machine::stick::Stick;
use crate::machine::{self, Machine, Options, qemu};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "update-rollback",
    summary: "a booth takes version 2 from a stick, refuses one with a wrong signature, and comes back from a version 3 that never gets well",
    kind: Kind::Long,
    place: Place::Machines(&["1", "2", "3+broken"]),
    relay: false,
    time_limit_s: 2400,
    run,
};

/// `update-server`
pub(crate) const SERVER: Scenario = Scenario {
    name: "update-server",
    summary: "a booth downloads version 2 from the HTTPS server that a stick names, and runs it",
    kind: Kind::Long,
    place: Place::Machines(&["1", "2"]),
    relay: false,
    time_limit_s: 1800,
    run: from_server,
};

/// A machine in emulation takes its time.
const TIMEOUT: Duration = Duration::from_secs(400);

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let bundle = |spec: &str, number: &str| -> Result<_, Error> {
        let image = machine::image(spec)?;
        Ok(image.with_file_name(format!("holobooth_{number}.update")))
    };
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    let mut machine = Machine::start(&disk, folder, &Options::default())?;
    machine.wait_for("image 1 runs", TIMEOUT)?;
    machine.wait_for_picture("the card with a code", TIMEOUT, |shot| shot.qr().is_some())?;

    let forged = folder.join("forged.update");
    // Not version 2: a booth takes no bundle with the sums of the one before, whatever the signature says.
    forge(&bundle("3+broken", "3")?, &forged)?;
    let stick = Stick::with(folder.join("forged.img"), &[("evil.update", &forged)])?;
    let before = machine.starts();
    let name = machine.plug(stick.image(), false)?;
    machine.wait_for("Update refused", TIMEOUT)?;
    report.check(
        "a bundle with another signature is refused for it",
        machine.console().contains("Signature verification failed"),
        machine.console().lines().find(|line| line.contains("signature from")).unwrap_or_default(),
    );
    machine.pull(&name)?;

    let stick = Stick::with(folder.join("two.img"), &[("new.update", &bundle("2", "2")?)])?;
    let plugged = machine.uptime();
    let name = machine.plug(stick.image(), false)?;
    let runs = machine.wait_for("version 2 came after 1", TIMEOUT)?;
    report.figure("update_s", (runs - plugged).as_secs_f64());
    report.check("version 2 runs", machine.console().contains("image 2 runs"), "");
    let after = machine.starts();
    report.check(
        "the machine started again for version 2 alone",
        before > 0 && after == before + 1,
        format!("{before}, {after}"),
    );
    machine.pull(&name)?;
    report.check(
        "the stick says so",
        // It stays in while the machine starts again, and is read once more then.
        stick.text("holobooth-result.txt").is_some_and(|text| {
            ["copied", "installed before"].iter().any(|done| text.contains(&format!("new.update: {done}")))
        }),
        stick.text("holobooth-result.txt").unwrap_or_default(),
    );

    let stick = Stick::with(folder.join("three.img"), &[("bad.update", &bundle("3+broken", "3")?)])?;
    let plugged = machine.uptime();
    machine.plug(stick.image(), false)?;
    let back = machine
        .wait_for("version 3 did not start well three times; the booth went back to 2", 4 * TIMEOUT)?;
    report.figure("rollback_s", (back - plugged).as_secs_f64());
    let tries = machine.console().matches("the booth is not well").count();
    report.check("version 3 had three tries", tries == 3, tries);
    Ok(report)
}

fn from_server(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let files = machine::image("2")?;
    let server = Server::new(files.parent().unwrap_or(folder), folder)?;
    // The machine has no root that knows this server; and nobody waits for the night.
    let trusts = "[Service]\nLoadCredential=server\nEnvironment=CURL_CA_BUNDLE=%d/server\n";
    let asks = "[Unit]\nAfter=holobooth.service\n[Service]\n\
                ExecStart=/bin/sh -c 'until grep -qs update /var/lib/holobooth-config/*; do sleep 1; done; \
                systemctl start holobooth-fetch.service'\n";
    let credentials = [
        ("server", server.certificate.as_str()),
        ("systemd.unit-dropin.holobooth-fetch.service~trusts", trusts),
        ("systemd.extra-unit.asks.service", asks),
        ("systemd.unit-dropin.multi-user.target~asks", "[Unit]\nWants=asks.service\n"),
    ];
    let options = Options {
        credentials: credentials.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        server: Some(server.command),
        ..Options::default()
    };
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    let mut machine = Machine::start(&disk, folder, &options)?;
    machine.wait_for_picture("the card with a code", TIMEOUT, |shot| shot.qr().is_some())?;
    let file = folder.join("holobooth.toml");
    let config = format!("[update]\nurl = \"https://{ADDRESS}\"\n");
    std::fs::write(&file, config).map_err(failed(file.display().to_string()))?;
    let stick = Stick::with(folder.join("stick.img"), &[("holobooth.toml", &file)])?;
    let plugged = machine.uptime();
    machine.plug(stick.image(), false)?;
    let waits = machine.wait_for("version 2 waits to be installed", TIMEOUT)?;
    report.figure("download_s", (waits - plugged).as_secs_f64());
    let runs = machine.wait_for("version 2 came after 1", TIMEOUT)?;
    report.figure("update_s", (runs - plugged).as_secs_f64());
    report.check("version 2 runs", machine.console().contains("image 2 runs"), "");
    let again = machine.wait_for("nothing newer", TIMEOUT)?;
    report.figure("asked_again_s", (again - plugged).as_secs_f64());
    Ok(report)
}

/// The bundle with a signature that fits nothing; all else is as it was.
fn forge(bundle: &Path, to: &Path) -> Result<(), Error> {
    let mut bytes = std::fs::read(bundle).map_err(failed(bundle.display().to_string()))?;
    let signature = member(&bytes, "SHA256SUMS.gpg")
        .ok_or_else(|| machine::Error::Refused(format!("{} has no signature", bundle.display())))?;
    // Around the middle are the numbers of the signature themselves, and not what says whose it is.
    bytes[signature.start + signature.len() / 2] ^= 1;
    std::fs::write(to, bytes).map_err(failed(to.display().to_string()))
}

/// Where a file's content lies in a tar (POSIX, pax: ustar interchange format): behind its header, each in
/// whole blocks.
fn member(tar: &[u8], wanted: &str) -> Option<Range<usize>> {
    const BLOCK: usize = 512;
    let text = |field: &[u8]| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).ok().map(|text| text.trim().to_owned())
    };
    let mut at = 0;
    loop {
        let header = tar.get(at..at + BLOCK)?;
        let size = usize::from_str_radix(&text(&header[124..136])?, 8).ok()?;
        let content = at + BLOCK..at + BLOCK + size;
        if text(&header[..100])? == wanted {
            return (size > 0 && content.end <= tar.len()).then_some(content);
        }
        at = content.start + size.next_multiple_of(BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            bytes.extend(header);
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    #[test]
    fn a_file_is_found_in_a_tar() {
        let whole =
            tar(&[("SHA256SUMS", &[1; 600]), ("SHA256SUMS.gpg", &[2; 119]), ("holobooth_3.efi", b"x")]);
        assert_eq!(&whole[member(&whole, "SHA256SUMS").unwrap()], &[1; 600]);
        assert_eq!(&whole[member(&whole, "SHA256SUMS.gpg").unwrap()], &[2; 119]);
        assert_eq!(member(&whole, "SHA256"), None);
        assert_eq!(member(&whole[..1600], "SHA256SUMS.gpg"), None);
    }
}
