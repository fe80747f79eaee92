//! Sticks that no booth should take anything from, made from a seed.

mod damage;
mod fault;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use fastrand::Rng;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

pub use fault::Fault;

use crate::stick::{Format, Stick};

/// A stick with a fault.
#[derive(Debug)]
pub struct Made {
    /// The fault that it has in the end.
    pub fault: Fault,
    /// The configuration, if it is one that the operator signed.
    pub signed: Option<String>,
}

/// What signs: the operator and somebody else.
pub struct Signers {
    /// The operator's keys.
    pub operator: minisign::KeyPair,
    /// Somebody else's.
    pub other: minisign::KeyPair,
}

impl Signers {
    /// New ones.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> io::Result<Self> {
        let pair = || minisign::KeyPair::generate_unencrypted_keypair().map_err(io::Error::other);
        Ok(Self { operator: pair()?, other: pair()? })
    }
}

/// The text of a `.minisig` file.
///
/// # Errors
/// When it cannot be made.
pub fn signature(pair: &minisign::KeyPair, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let signed = minisign::sign(Some(&pair.pk), &pair.sk, bytes, None, None).map_err(io::Error::other)?;
    Ok(signed.to_string().into_bytes())
}

/// A configuration that is fine, different for each seed.
pub fn good_config(rng: &mut Rng) -> String {
    format!(
        "# {}\n[camera]\nwidth = {}\nheight = 480\nfps = {}\n",
        word(rng, 40),
        2 * rng.u32(40..900),
        rng.u32(1..200)
    )
}

const CONFIG: &str = "holobooth.toml";
const SIGNATURE: &str = "holobooth.toml.minisig";

/// Makes a stick with this fault. Where a file system cannot have it, with another that it can have.
///
/// # Errors
/// When the stick cannot be made.
pub fn make(stick: &Stick, fault: Fault, signers: &Signers, rng: &mut Rng) -> io::Result<Made> {
    let unix = stick.format() == Format::Ext4;
    let fault = match fault {
        Fault::LinkToSecret | Fault::LinkToDevice | Fault::Fifo | Fault::Device if !unix => {
            [Fault::NotText, Fault::Nul, Fault::Folder, Fault::HugeFile][rng.usize(0..4)]
        }
        fault => fault,
    };
    let good = good_config(rng);
    stick.with(|root| files(root, fault, unix, signers, &good, rng))?;
    damage::damage(stick, fault, rng)?;
    Ok(Made { fault, signed: (fault == Fault::SignedCorrupted).then_some(good) })
}

fn files(
    root: &Path,
    fault: Fault,
    unix: bool,
    signers: &Signers,
    good: &str,
    rng: &mut Rng,
) -> io::Result<()> {
    let config = root.join(CONFIG);
    // First, for the first cluster is read whatever becomes of the chain; and last.
    let bad = format!("[nowhere]\nkey = {}\n{}[elsewhere]\n", rng.u32(..), filler(rng));
    match fault {
        Fault::HugeFile => {
            let bytes = rng.usize(65_537..6_000_000);
            fs::write(config, "# so much to say\n".repeat(bytes / 17 + 1))
        }
        Fault::DeepTree => {
            let mut at = root.to_owned();
            for _ in 0..rng.u32(20..60) {
                at.push(word(rng, 3));
                fs::create_dir_all(&at)?;
            }
            for n in 0..rng.u32(50..300) {
                File::create(root.join(format!("{n}-{}.update.txt", word(rng, 20))))?;
            }
            if unix {
                symlink("..", at.join("up"))?;
                symlink(".", root.join("logs"))?;
            }
            fs::write(config, bad)
        }
        Fault::LinkToSecret => {
            symlink(["/etc/shadow", "/proc/1/environ", "../../../etc/shadow"][rng.usize(0..3)], config)
        }
        Fault::LinkToDevice => symlink(["/dev/zero", "/dev/loop0", "/dev/kmsg"][rng.usize(0..3)], config),
        Fault::Folder => {
            fs::create_dir(&config)?;
            fs::write(config.join(CONFIG), "[camera]\nfps = 25\n")
        }
        Fault::Fifo => Ok(nix::unistd::mkfifo(&config, Mode::S_IRWXU)?),
        Fault::Device => {
            let (kind, major, minor) =
                [(SFlag::S_IFCHR, 1, 5), (SFlag::S_IFBLK, 7, 0), (SFlag::S_IFCHR, 1, 3)][rng.usize(0..3)];
            Ok(mknod(&config, kind, Mode::S_IRWXU, makedev(major, minor))?)
        }
        Fault::NotText => {
            let mut bytes: Vec<u8> = (0..rng.usize(1..4000)).map(|_| rng.u8(..)).collect();
            bytes.push(0xff);
            fs::write(config, bytes)
        }
        Fault::Nul => fs::write(config, ["[camera]\nfps = 25\n", "\0\0", "\0"].concat()),
        Fault::Truncated | Fault::Corrupted | Fault::CorruptedBlocks | Fault::Loop | Fault::AsksForPanic => {
            fs::write(config, bad)
        }
        Fault::UnknownKeys => {
            let near = [
                "[camera]\nwidht = 640",
                "[kamera]\nwidth = 640",
                "[network]\ndhcp = true",
                "key = 1",
                "[network.wifi]\npsk = 1",
            ];
            fs::write(config, near[rng.usize(0..near.len())])
        }
        Fault::HugeNumbers => {
            let huge = [
                "9".repeat(rng.usize(20..60_000)),
                "1e99999".into(),
                "-9223372036854775808".into(),
                "inf".into(),
                "0xffffffffffffffff".into(),
            ];
            fs::write(config, format!("[camera]\nfps = {}\n", huge[rng.usize(0..huge.len())]))
        }
        Fault::DeeplyNested => {
            let open = ["[", "{a=", "{a.b.c.d=[", "[[[{x="][rng.usize(0..4)];
            let times = rng.usize(100..65_000 / open.len());
            fs::write(config, format!("[camera]\ndevice = {}", open.repeat(times)))
        }
        Fault::OverLimits => {
            let over = [
                "[camera]\nfps = 100000",
                "[camera]\nwidth = 641",
                "[network]\nvlan = 5000\ninterface = \"a\"",
                "[network]\naddress = \"192.0.2.7/24\"\ngateway = \"192.0.3.1\"",
                "[network]\ninterface = \"eth0\\n[Match]\"",
                "[update]\nurl = \"http://example.org\"",
                "[time]\nservers = [\"a b\"]",
                "[room]\nkey = \"AAAAAAA\"",
                "[operator]\nkey = \"RWrubbish\"",
            ];
            fs::write(config, over[rng.usize(0..over.len())])
        }
        Fault::Babble => {
            let pieces = [
                "[",
                "]",
                "[[",
                "=",
                "\"",
                "\"\"\"",
                "'",
                ".",
                ",",
                "{",
                "}",
                "#",
                "\n",
                "camera",
                "network",
                "true",
                "1979-05-27",
                "\\u0000",
                "0x",
                "é",
            ];
            let text: String = (0..rng.usize(1..3000)).map(|_| pieces[rng.usize(0..pieces.len())]).collect();
            fs::write(config, format!("[nowhere]\n{text}"))
        }
        Fault::ResetOfAnother => {
            let reset = root.join("factory-reset");
            match rng.u32(0..4) {
                0 => fs::write(reset, word(rng, 12)),
                1 => fs::write(reset, "north\n".repeat(3000)),
                2 => fs::create_dir(reset),
                _ => fs::write(reset, ""),
            }
        }
        Fault::Unsigned
        | Fault::SignedByAnother
        | Fault::SignatureOfAnother
        | Fault::SignatureUnfit
        | Fault::SignedCorrupted => {
            fs::write(&config, good)?;
            signed(root, fault, good.as_bytes(), unix, signers, rng)
        }
        Fault::AnswerInTheWay => {
            let result = root.join("holobooth-result.txt");
            if unix && rng.bool() {
                symlink("/etc/passwd", &result)?;
                symlink("/etc/passwd", root.join("holobooth-result.txt.new"))?;
            } else {
                fs::create_dir_all(result.join("deep"))?;
            }
            fs::write(config, bad)
        }
    }
}

fn signed(
    root: &Path,
    fault: Fault,
    good: &[u8],
    unix: bool,
    signers: &Signers,
    rng: &mut Rng,
) -> io::Result<()> {
    let place = root.join(SIGNATURE);
    match fault {
        Fault::SignedByAnother => fs::write(place, signature(&signers.other, good)?),
        Fault::SignatureOfAnother => {
            fs::write(place, signature(&signers.operator, good_config(rng).as_bytes())?)
        }
        Fault::SignedCorrupted => fs::write(place, signature(&signers.operator, good)?),
        Fault::SignatureUnfit => match rng.u32(0..4) {
            0 if unix => Ok(nix::unistd::mkfifo(&place, Mode::S_IRWXU)?),
            1 => fs::create_dir(place),
            2 => fs::write(place, "untrusted comment: \n".repeat(1000)),
            _ => fs::write(place, (0..200).map(|_| rng.u8(..)).collect::<Vec<_>>()),
        },
        _ => Ok(()),
    }
}

/// Some kilobytes of comment, so that a file has several blocks.
fn filler(rng: &mut Rng) -> String {
    (0..rng.u32(10..400)).map(|_| format!("# {}\n", word(rng, 60))).collect()
}

fn word(rng: &mut Rng, longest: usize) -> String {
    (0..rng.usize(1..=longest)).map(|_| rng.lowercase()).collect()
}
